"""What is decoded of pictures and sounds, and what is refused before."""

import asyncio
import contextlib
import struct
import wave
import zlib
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import pytest

if not find_spec("vllm"):
    pytest.skip("vLLM is not installed here: `make test` installs it", allow_module_level=True)

from PIL import ExifTags, Image

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.media import Media
from penstock_service.engine.vllm.pictures import decoded_picture
from penstock_service.engine.vllm.sounds import decoded_sound, read_header
from penstock_service.errors import FeatureOff, InvalidRequest
from penstock_service.media_limits import MediaRefused

RED = (200, 0, 0)


def picture(kind: str = "PNG", mode: str = "RGB", color: Any = RED, **options: Any) -> bytes:
    file = BytesIO()
    Image.new(mode, (40, 20), color).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says that it has these sides, with `data` for its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def webp(width: int, height: int) -> bytes:
    """A WebP that says that it has these sides."""
    file = bytearray(picture("WEBP", lossless=True))
    at = file.index(b"VP8L") + 9
    struct.pack_into("<I", file, at, (width - 1) | (height - 1) << 14)
    return bytes(file)


def wav(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(bytes(int(seconds * rate) * channels * width))
    return file.getvalue()


def flac(rate: int = 16_000, channels: int = 1, frames: int = 16_000) -> bytes:
    """The header of a FLAC file."""
    bits = rate << 44 | (channels - 1) << 41 | 15 << 36 | frames
    return b"fLaC" + b"\x80\x00\x00\x22" + bytes(10) + struct.pack(">Q", bits) + bytes(16)


def ogg(codec: bytes, frames: int) -> bytes:
    """The first and the last page of an OGG file."""
    first = b"OggS" + bytes(22) + b"\x01" + bytes([len(codec)]) + codec
    return first + b"OggS" + bytes(2) + struct.pack("<q", frames) + bytes(13)


def vorbis(rate: int = 44_100, channels: int = 2) -> bytes:
    return b"\x01vorbis" + bytes(4) + struct.pack("<BI", channels, rate) + bytes(14)


def refusal_of(decode: Any, file: bytes) -> str:
    with pytest.raises(MediaRefused) as refused:
        decode(file)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pictures_of_the_four_types_are_decoded(kind: str) -> None:
    made: Any = decoded_picture(picture(kind))

    assert (made.mode, made.size) == ("RGB", (40, 20))
    assert all(abs(got - sent) < 8 for got, sent in zip(made.getpixel((5, 5)), RED, strict=True))


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM", "ICO", "PDF"])
def test_other_types_are_refused(kind: str) -> None:
    assert refusal_of(decoded_picture, picture(kind)) == "must be a PNG, JPEG, WebP or GIF file"


@pytest.mark.parametrize("file", [b"", b"\x00", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0"])
def test_what_is_no_picture_is_refused(file: bytes) -> None:
    assert refusal_of(decoded_picture, file) == "must be a PNG, JPEG, WebP or GIF file"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_cut_and_damaged_files_are_refused_in_a_sentence(kind: str) -> None:
    whole = picture(kind)

    for length in range(12, len(whole) * 3 // 4, 5):
        assert refusal_of(decoded_picture, whole[:length]).startswith(("cannot be decoded", "must be a PNG"))


def test_bytes_that_were_changed_never_fail_otherwise() -> None:
    whole = picture("PNG")

    for at in range(len(whole)):
        with contextlib.suppress(MediaRefused):
            decoded_picture(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])


@pytest.mark.parametrize(
    "file", [png(5_000, 4_001), png(100_000, 100_000), png(2**31 - 1, 2**31 - 1), webp(16_383, 16_383)]
)
def test_bombs_are_refused_before_they_are_decoded(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.load", lambda _: pytest.fail("it was decoded"))

    assert refusal_of(decoded_picture, file).startswith("must have at most 20000000 pixels, got ")


def test_the_largest_picture_is_decoded() -> None:
    assert decoded_picture(png(5_000, 4_000, bytes((5_000 * 3 + 1) * 4_000))).size == (5_000, 4_000)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    file = picture("JPEG", progressive=True)
    scan = file.rindex(b"\xff\xda")

    assert "at most 64 scans, got" in refusal_of(decoded_picture, file[:-2] + file[scan:-2] * 70 + file[-2:])


def test_an_animation_is_its_first_picture() -> None:
    others = [Image.new("RGB", (40, 20), (0, 0, number)) for number in range(9)]

    for kind in ("GIF", "WEBP"):
        made: Any = decoded_picture(picture(kind, save_all=True, append_images=others))
        assert made.getpixel((5, 5))[0] > 150


def test_transparency_is_white() -> None:
    assert decoded_picture(picture("PNG", "RGBA", (0, 0, 0, 0))).getpixel((5, 5)) == (255, 255, 255)


def test_cameras_that_were_turned_are_turned_back() -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6

    assert decoded_picture(picture("JPEG", exif=turned)).size == (20, 40)


def test_wrong_notes_of_a_camera_do_not_spoil_a_picture() -> None:
    entries = ((0x112, 3, 1, b"\0\6\0\0"), (0x11A, 2, 4, b"abc\0"))  # turned, and a resolution that is no number
    notes = (
        b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 2) + b"".join(struct.pack(">HHI4s", *each) for each in entries)
    )

    assert decoded_picture(picture("JPEG", exif=notes + bytes(4))).size == (40, 20)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (wav(), ("WAV", 16_000, 1, 8_000)),
        (wav(channels=2, width=3), ("WAV", 16_000, 2, 8_000)),
        (flac(48_000, 2, 999), ("FLAC", 48_000, 2, 999)),
        (ogg(vorbis(), 777), ("OGG", 44_100, 2, 777)),
        (ogg(b"OpusHead\x01\x02" + bytes(9), 777), ("OGG", 48_000, 2, 777)),
        (ogg(b"\x7fFLAC\x01\x00\x00\x01" + flac(8_000, 1, 0), 777), ("OGG", 8_000, 1, 777)),
    ],
)
def test_headers_of_sounds_are_read(file: bytes, expected: tuple[str, int, int, int]) -> None:
    assert read_header(file) == expected


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"ID3 is no sound here", "must be a WAV, FLAC or OGG file"),
        (ogg(b"\x80theora" + bytes(40), 1), "must be a WAV, FLAC or OGG file"),
        (wav(60.1, 8_000), "must last at most 60 seconds, got 60.1"),
        (flac(frames=2**36 - 1), "must last at most 60 seconds, got 4294967.3"),
        (ogg(vorbis(), 2**62), "must last at most 60 seconds"),
        (flac(frames=0), "must tell its length"),
        (ogg(vorbis(), -1), "must tell its length"),
        (wav(channels=6), "must have 1 to 2 channels, got 6"),
        (flac(rate=655_350), "must have 8000 to 48000 samples a second, got 655350"),
        (wav(rate=100), "must have 8000 to 48000 samples a second, got 100"),
        (wav()[:30], "cannot be decoded"),
        (flac()[:12], "cannot be decoded"),
        (b"OggS", "cannot be decoded"),
        (wav(0), "must tell its length"),
    ],
)
def test_sounds_are_refused_by_their_headers(file: bytes, said: str) -> None:
    assert said in refusal_of(decoded_sound, file)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_is_decoded_to_one_channel(width: int) -> None:
    half = {1: b"\xc0", 2: b"\x00\x40", 3: b"\x00\x00\x40", 4: b"\x00\x00\x00\x40"}[width]
    silent = b"\x80" if width == 1 else bytes(width)
    file = wav(0.5, channels=2, width=width)
    samples, rate = decoded_sound(file[: -8_000 * 2 * width] + (half + silent) * 8_000)

    assert (rate, samples.shape, samples.dtype) == (16_000.0, (8_000,), "float32")
    assert samples == pytest.approx(0.25, abs=0.01)


def test_floating_point_wav_stays_between_minus_one_and_one() -> None:
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 52, b"WAVE", b"fmt ", 16, 3, 1, 16_000, 64_000, 4, 32, b"data", 16
    )
    samples, _ = decoded_sound(header + struct.pack("<4f", 0.5, 9.0, float("nan"), float("-inf")))

    assert samples.tolist() == [0.5, 1.0, 0.0, -1.0]


@pytest.mark.skipif(find_spec("soundfile") is not None, reason="the decoder is installed here")
def test_types_without_a_decoder_are_the_operators_matter() -> None:
    with pytest.raises(FeatureOff, match=r"vllm\[audio\]"):
        decoded_sound(flac())


def conversation(*parts: dict[str, Any]) -> pb.Conversation:
    return pb.Conversation(messages=[{"role": pb.ROLE_USER, "content": list(parts)}])


async def test_a_conversations_media_come_by_kind_and_in_order() -> None:
    sent = conversation(
        {"image": {"data": picture()}},
        {"audio": {"data": wav()}},
        {"text": "and"},
        {"image": {"data": picture(color=(0, 0, 200))}},
    )

    async with Media.of(()).decoded(sent) as found:
        assert [image.getpixel((5, 5)) for image in found["image"]] == [RED, (0, 0, 200)]
        assert [rate for _, rate in found["audio"]] == [16_000]


async def test_everything_that_is_wrong_is_told_at_once_by_its_field() -> None:
    sent = conversation(
        {"image": {"data": png(9_000, 9_000)}}, {"image": {"data": picture()}}, {"audio": {"data": b"nothing"}}
    )

    with pytest.raises(InvalidRequest) as refused:
        async with Media.of(()).decoded(sent):
            pytest.fail("it was taken")

    assert [tuple(violation) for violation in refused.value.violations] == [
        ("conversation.messages[0].content[0].image.data", "must have at most 20000000 pixels, got 9000 x 9000"),
        ("conversation.messages[0].content[2].audio.data", "must be a WAV, FLAC or OGG file"),
    ]


async def test_few_conversations_lie_decoded_in_memory_at_a_time() -> None:
    media, sent = Media.of(()), conversation({"image": {"data": picture()}})
    inside, most, go_on = 0, 0, asyncio.Event()
    both_inside = asyncio.Event()

    async def use() -> None:
        nonlocal inside, most
        async with media.decoded(sent):
            inside += 1
            most = max(most, inside)
            if inside == 2:
                both_inside.set()
            await go_on.wait()
            inside -= 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(use())
        await both_inside.wait()
        go_on.set()

    assert most == 2


async def test_the_event_loop_goes_on_while_a_large_picture_is_decoded() -> None:
    sent = conversation({"image": {"data": png(5_000, 4_000, bytes((5_000 * 3 + 1) * 4_000))}})
    turns = 0

    async def decode() -> None:
        async with Media.of(()).decoded(sent):
            pass

    decoding = asyncio.create_task(decode())
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0)

    await decoding
    assert turns > 20
