"""Decodes sounds that anybody may have made: what they need is judged by their headers first."""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from penstock_service.errors import FeatureOff
from penstock_service.media_limits import MediaRefused

MOST_SECONDS = 60
MOST_CHANNELS = 2
LEAST_RATE, MOST_RATE = 8_000, 48_000
_WRONG_TYPE = "must be a WAV, FLAC or OGG file"
_DAMAGED = "cannot be decoded: it is damaged or not complete"
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # of WAVE's format tags

Sound = tuple[Any, float]
"""Samples from -1 to 1, float32, and how many there are a second."""


class Header(NamedTuple):
    """What a file says of itself."""

    type: str
    rate: int
    channels: int
    frames: int


def decoded_sound(file: bytes) -> Sound:
    """The sound in a file, [samples], its channels mixed.

    Raises MediaRefused, and FeatureOff where the decoder for the file's type is not installed.
    """
    try:
        header = read_header(file)
    except (struct.error, IndexError, ValueError, KeyError, ZeroDivisionError):
        raise MediaRefused(_DAMAGED) from None
    _check(header)
    try:
        samples, rate = _wav_samples(file) if header.type == "WAV" else _libsndfile_samples(file)
    except (FeatureOff, MediaRefused):
        raise
    except Exception:  # decoders fail in many ways, and it is the file each time
        raise MediaRefused(_DAMAGED) from None
    if not samples.size:
        raise MediaRefused("must have at least 1 sample, got 0")
    return samples.mean(axis=1, dtype=np.float32), float(rate)


def read_header(file: bytes) -> Header:
    """The header of a WAV, FLAC or OGG file. Raises MediaRefused for other types, what `struct` raises for damage."""
    if file[:4] == b"RIFF" and file[8:12] == b"WAVE":
        chunks = dict(_wav_chunks(file))
        _, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
        return Header("WAV", rate, channels, len(chunks[b"data"]) // (channels * bits // 8))
    if file[:4] == b"fLaC":
        return Header("FLAC", *_stream_info(file[8:]))
    if file[:4] == b"OggS":
        return _ogg_header(file)
    raise MediaRefused(_WRONG_TYPE)


def _check(header: Header) -> None:
    if not 1 <= header.channels <= MOST_CHANNELS:
        raise MediaRefused(f"must have 1 to {MOST_CHANNELS} channels, got {header.channels}")
    if not LEAST_RATE <= header.rate <= MOST_RATE:
        raise MediaRefused(f"must have {LEAST_RATE} to {MOST_RATE} samples a second, got {header.rate}")
    if header.frames <= 0:
        raise MediaRefused("must tell its length in its header")
    if header.frames > MOST_SECONDS * header.rate:
        seconds = header.frames / header.rate
        raise MediaRefused(f"must last at most {MOST_SECONDS} seconds, got {seconds:.1f}")


def _wav_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(file):
        name, size = struct.unpack_from("<4sI", file, at)
        yield name, file[at + 8 : at + 8 + size]
        if name == b"data":  # streams do not know its size, and what follows it says nothing of the sound
            return
        at += 8 + size + size % 2


def _stream_info(block: bytes) -> tuple[int, int, int]:
    """Rate, channels and frames of FLAC's STREAMINFO."""
    (bits,) = struct.unpack_from(">Q", block, 10)
    return bits >> 44, (bits >> 41 & 7) + 1, bits & 0xFFFFFFFFF


def _ogg_header(file: bytes) -> Header:
    """Of the first stream: its first page has the codec's header, the file's last page the last frame's number."""
    start = 27 + file[26]
    codec = file[start : start + 64]
    (last,) = struct.unpack_from("<q", file, file.rindex(b"OggS") + 6)
    if codec.startswith(b"\x01vorbis"):
        channels, rate = struct.unpack_from("<BI", codec, 11)
        return Header("OGG", rate, channels, last)
    if codec.startswith(b"OpusHead"):
        return Header("OGG", 48_000, codec[9], last)
    if codec.startswith(b"\x7fFLAC"):
        rate, channels, _ = _stream_info(codec[17:])
        return Header("OGG", rate, channels, last)
    raise MediaRefused(_WRONG_TYPE)


def _wav_samples(file: bytes) -> Sound:
    """Float32 [frames, channels]."""
    chunks = dict(_wav_chunks(file))
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if tag == _EXTENSIBLE:
        (tag,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
    data, frame_bytes = chunks[b"data"], channels * bits // 8
    whole = data[: len(data) // frame_bytes * frame_bytes]
    return _numbers(whole, tag, bits).reshape(-1, channels), rate


def _numbers(data: bytes, tag: int, bits: int) -> Any:
    match tag, bits:
        case (1, 8):  # the only one without a sign
            return np.frombuffer(data, np.uint8).astype(np.float32) / 128 - 1
        case (1, 24):
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return wide.view("<i4").astype(np.float32) / 2**31
        case (1, 16 | 32):
            return np.frombuffer(data, f"<i{bits // 8}").astype(np.float32) / 2 ** (bits - 1)
        case (3, 32 | 64):
            return np.nan_to_num(np.frombuffer(data, f"<f{bits // 8}").astype(np.float32).clip(-1, 1))
    raise MediaRefused("must have WAV samples of 8, 16, 24 or 32 bits, or floating-point ones of 32 or 64")


def _libsndfile_samples(file: bytes) -> Sound:
    """Float32 [frames, channels]. Headers can lie: no more is decoded than may be there."""
    if find_spec("soundfile") is None:
        raise FeatureOff("conversation: this server decodes WAV alone; for FLAC and OGG its operator adds vllm[audio]")
    import soundfile  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with soundfile.SoundFile(BytesIO(file)) as opened:
        _check(Header(opened.format, opened.samplerate, opened.channels, opened.frames))
        samples = opened.read(MOST_SECONDS * opened.samplerate, dtype="float32", always_2d=True)
        return samples, opened.samplerate
