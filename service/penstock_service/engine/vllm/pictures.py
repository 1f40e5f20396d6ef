"""Decodes pictures that anybody may have made: what they need is judged by their headers first."""

from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from penstock_service.media_limits import MediaRefused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_PIXELS = 20_000_000
# Each scan of a progressive JPEG costs a pass over the whole picture; encoders make about ten.
MOST_JPEG_SCANS = 64
_START_OF_SCAN = b"\xff\xda"
_WRONG_TYPE = "must be a PNG, JPEG, WebP or GIF file"
_DAMAGED = "cannot be decoded: it is damaged or not complete"


def decoded_picture(file: bytes) -> Image.Image:
    """The picture in a file, of an animation the first one, upright, in RGB, on white. Raises MediaRefused."""
    with _opened(file) as picture:
        _check_size(picture.width, picture.height)
        if picture.format in ("JPEG", "MPO") and file.count(_START_OF_SCAN) > MOST_JPEG_SCANS:
            raise MediaRefused(f"must have at most {MOST_JPEG_SCANS} scans, got {file.count(_START_OF_SCAN)}")
        try:
            picture.load()
            return _rgb(_upright(picture))
        except Exception:  # Pillow's decoders fail in many ways, and it is the file each time
            raise MediaRefused(_DAMAGED) from None


def _opened(file: bytes) -> Image.Image:
    """Reads the header alone."""
    try:
        return Image.open(BytesIO(file), formats=FORMATS)
    except Image.DecompressionBombError:
        raise MediaRefused(f"must have at most {MOST_PIXELS} pixels, got far more") from None
    except UnidentifiedImageError:
        raise MediaRefused(_WRONG_TYPE) from None
    except Exception:
        raise MediaRefused(_DAMAGED) from None


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise MediaRefused(f"must have at most {MOST_PIXELS} pixels, got {width} x {height}")


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as the camera noted."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # cameras and editors write wrong notes beside right pictures
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    seen = picture.convert("RGBA")
    white.paste(seen, mask=seen.getchannel("A"))
    return white
