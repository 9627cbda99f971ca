"""Decode the bytes of a picture into an array of fixed shape. What is lost on the way is said or refused."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from boundcheck.data.errors import DataError, explained

MODES = {1: "L", 3: "RGB"}
PLAIN_MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA", "RGBX")  # converting these to MODES needs no word
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow would clip them to 8 bits
DEEP_LAYOUT = re.compile(r"(?<!BGR);(16|24|32)")  # Pillow cuts them to 8 bits; BGR;16 has 5 or 6
MAX_PIXELS = 2**26  # 8192 x 8192; a small file can hold more pixels than the memory
UNREAD_FORMATS = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow runs Ghostscript for EPS, and has no decoder
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # the pixels are counted below


class Picture(NamedTuple):
    """The pixels (channels, h, w) uint8 of a picture, and what was changed or left out beside its size, in words."""

    pixels: np.ndarray
    changes: tuple[str, ...] = ()


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read: those of Pillow, but for UNREAD_FORMATS."""
    Image.init()
    return tuple(sorted(Image.OPEN.keys() - UNREAD_FORMATS))


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of these formats, with their dots, in small letters."""
    return frozenset(suffix for suffix, format_ in Image.registered_extensions().items() if format_ in formats())


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    """The picture, whose size is allowed. A decoder can raise any error on damaged bytes."""
    with explained(name, "mend or remove the picture", Exception), _recognised(content, name) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            problem = f"{picture.height:,} x {picture.width:,} pixels, at most {MAX_PIXELS:,} are read"
            raise DataError(f"{name}: {problem}; make the picture smaller or remove it")
        yield picture


def _recognised(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=formats())
    except UnidentifiedImageError:
        raise DataError(f"{name}: no picture of a known format; mend or remove the picture") from None


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width of a picture as it is stored, in pixels."""
    with _opened(content, name) as picture:
        return picture.height, picture.width


def read_picture(
    content: bytes,
    name: str,
    channels: int,
    size: Sequence[int] | None = None,
    resize: int | None = None,
    background: str | None = None,
) -> Picture:
    """The picture as an array of 8 bits per channel.

    With `size`, the picture is scaled (bilinear, antialiased) until its shorter side is `resize`, by default until it
    just covers `size`; then the centre is cut out. A rotation in the EXIF data is not applied, as in the common
    training pipelines. Of an animation or of several pages the first is read.

    Args:
        content: The bytes of the file.
        name: The name of the picture in error messages.
        channels: 1 (grey) or 3 (colour).
        size: Height and width of the result; by default those of the picture.
        resize: Length of the shorter side before the crop.
        background: The colour that transparent pictures are laid on; None: they are refused.

    Raises:
        DataError: the picture is damaged, of unknown format, too large as stored or scaled, transparent without a
            `background`, or has more than 8 bits per channel.
    """
    with _opened(content, name) as picture:
        changes = []
        if _is_deep(picture, content):
            raise DataError(f"{name}: more than 8 bits per channel (mode {picture.mode}); convert it to 8 bits")
        if getattr(picture, "is_animated", False):
            changes.append("first of several frames")
        opaque = _opaque(picture, name, background)
        if opaque is not picture:
            changes.append(f"transparent parts on {background}")
        if opaque.mode not in PLAIN_MODES:
            changes.append(f"{opaque.mode} converted to {MODES[channels]} without a colour profile")
        fitted = opaque if opaque.mode == MODES[channels] else opaque.convert(MODES[channels])
        if size is not None:
            fitted = _fit(fitted, name, size[0], size[1], resize)
        pixels = np.asarray(fitted)
    return Picture(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), tuple(changes))


def _opaque(picture: Image.Image, name: str, background: str | None) -> Image.Image:
    """The picture itself if no pixel is transparent, else laid on the background."""
    if not picture.has_transparency_data:
        return picture
    colours = picture.convert("RGBA")
    if np.asarray(colours.getchannel("A")).min() == 255:
        return picture
    if background is None:
        advice = "set `background` to black or white, or lay the picture on a colour"
        raise DataError(f"{name}: parts of the picture are transparent; {advice}")
    return Image.alpha_composite(Image.new("RGBA", colours.size, background), colours).convert("RGB")


def _is_deep(picture: Image.Image, content: bytes) -> bool:
    """Whether the file has more than 8 bits per channel. For colours Pillow does not say so: it cuts them."""
    if picture.mode in DEEP_MODES:
        return True
    if picture.format == "AVIF":  # box av1C: bit 6 of the third byte is high_bitdepth
        at = content.find(b"av1C")
        return at >= 0 and any(bits & 0x40 for bits in content[at + 6 : at + 7])
    if picture.format == "JPEG2000":  # marker SIZ: for each component one byte with its bits, then two others
        at = content.find(b"\xff\x4f\xff\x51") + 42
        return any((bits & 0x7F) >= 8 for bits in content[at : at + 3 * len(picture.getbands()) : 3])
    layouts = [str(part) for tile in getattr(picture, "tile", ()) for part in _flat(tile[3])]
    is_deep_ppm = picture.format == "PPM" and any(part.isdecimal() and int(part) > 255 for part in layouts)
    return is_deep_ppm or any(DEEP_LAYOUT.search(layout) for layout in layouts)


def _flat(arguments: object) -> Sequence[object]:
    """What a decoder is told, as a sequence."""
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _fit(picture: Image.Image, name: str, height: int, width: int, resize: int | None) -> Image.Image:
    """Scale, then cut out the centre; lengths and offsets are rounded as torchvision's Resize and CenterCrop do."""
    if resize is not None:
        short = min(picture.size)
        across, down = (resize if side == short else int(resize * side / short) for side in picture.size)
    else:
        scale = max(width / picture.width, height / picture.height)
        across, down = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    if across * down > MAX_PIXELS:
        problem = f"{picture.height:,} x {picture.width:,} pixels, scaled {down:,} x {across:,}, at most {MAX_PIXELS:,}"
        raise DataError(f"{name}: {problem} are read; cut or remove the picture, or make `size` and `resize` smaller")
    if (across, down) != picture.size:
        picture = picture.resize((across, down), Image.Resampling.BILINEAR)
    left, top = round((across - width) / 2), round((down - height) / 2)
    return picture.crop((left, top, left + width, top + height))
