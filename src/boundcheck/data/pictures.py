"""Decode the bytes of a picture into an array of fixed shape."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

from boundcheck.data.errors import DataError, explained

MODES = {1: "L", 3: "RGB"}
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow would clip them to 8 bits


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    damage = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
    with explained(name, "mend or remove the picture", *damage), Image.open(io.BytesIO(content)) as picture:
        yield picture


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width of a picture as it is stored, in pixels."""
    with _opened(content, name) as picture:
        return picture.height, picture.width


def read_picture(
    content: bytes, name: str, channels: int, size: Sequence[int] | None = None, resize: int | None = None
) -> np.ndarray:
    """A picture as (channels, h, w) uint8.

    With `size`, the picture is scaled (bilinear, antialiased) until its shorter side is `resize`, by default until it
    just covers `size`; then the centre is cut out. Transparency is dropped. A rotation in the EXIF data is not
    applied, as in the common training pipelines.

    Args:
        content: The bytes of the file.
        name: The name of the picture in error messages.
        channels: 1 (grey) or 3 (colour).
        size: Height and width of the result; by default those of the picture.
        resize: Length of the shorter side before the crop.

    Raises:
        DataError: the picture is damaged, of unknown format, or has more than 8 bits per channel.
    """
    with _opened(content, name) as picture:
        if picture.mode in DEEP_MODES:
            raise DataError(f"{name}: more than 8 bits per channel (mode {picture.mode}); convert it to 8 bits")
        fitted = picture if picture.mode == MODES[channels] else picture.convert(MODES[channels])
        if size is not None:
            fitted = _fit(fitted, size[0], size[1], resize)
        pixels = np.asarray(fitted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fit(picture: Image.Image, height: int, width: int, resize: int | None) -> Image.Image:
    """Scale, then cut out the centre; lengths and offsets are rounded as torchvision's Resize and CenterCrop do."""
    if resize is not None:
        short = min(picture.size)
        across, down = (resize if side == short else int(resize * side / short) for side in picture.size)
    else:
        scale = max(width / picture.width, height / picture.height)
        across, down = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    if (across, down) != picture.size:
        picture = picture.resize((across, down), Image.Resampling.BILINEAR)
    left, top = round((across - width) / 2), round((down - height) / 2)
    return picture.crop((left, top, left + width, top + height))
