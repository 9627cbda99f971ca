"""Your own images: folders `train/<class>/*` and `test/<class>/*` (or `val/`), in a directory, a tar or a zip."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch

from boundcheck.contracts import Splits
from boundcheck.data.archives import Files, open_files
from boundcheck.data.arrays import Arrays, new_arrays, read_arrays
from boundcheck.data.errors import DataError
from boundcheck.data.sizes import Sizes
from boundcheck.settings import Count, Len, MinLen, NoTruth, in_words, settings

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
READ_AHEAD = 256  # files held in memory at once
LARGE_PICTURE = 128 * 128  # pixels; smaller ones are decoded faster by one thread than by several


class Row(NamedTuple):
    """The row of the array file that a picture is written to, and its label."""

    is_train: bool
    number: int
    label: int


ImagePath = Annotated[str, MinLen(1), in_words("a directory, a tar or a zip")]
Sides = Annotated[Sequence[Count], Len(2, 2), in_words("[height, width]")]


@settings
class ImageFolder:
    """Pictures of both splits in folders named by class, in a directory, tar or zip.

    Labels follow the sorted class names. Rows are ordered by the sha256 of `<class>/<file>`. So the first k rows, and
    the first k rows of a class, are a random subset, whatever the files are called. Files that are not pictures are
    skipped.

    Args:
        path: The directory or archive; one folder above `train/` is allowed.
        size: Side, or [height, width], of the stored images, in pixels; by default the size of the pictures, which
            must then all have the same size.
        channels: 1 (grey) or 3 (colour).
        resize: Length of the shorter side, in pixels, before the centre crop to `size` (ImageNet: resize 256, size
            224); by default the smallest length that covers `size`.
    """

    path: ImagePath
    size: Count | Sides | None = None
    channels: Annotated[Literal[1, 3], NoTruth] = 3
    resize: Count | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and (self.sides is None or self.resize < max(self.sides)):
            allowed = "a whole number >= the larger side of `size`, which must be given"
            raise ValueError(f"resize: got {self.resize}; allowed: {allowed}")

    @property
    def sides(self) -> tuple[int, ...] | None:
        """Height and width of the stored images; None if `size` is not given."""
        if self.size is None:
            return None
        return tuple(self.size) if isinstance(self.size, Sequence) else (self.size, self.size)

    @property
    def sizes(self) -> Sizes:
        """The input shape if `size` is given. The number of pictures is only known after the fetch."""
        return Sizes() if self.sides is None else Sizes((self.channels, *self.sides))

    def fetch(self, root: Path) -> None:
        """Read the pictures and write the array file of the dataset into `root`."""
        from boundcheck.data.pictures import picture_size

        with open_files(Path(self.path).expanduser()) as files:
            classes, rows = find_pictures(files.names, self.path)
            first = next(name for name in files.names if name in rows)
            first_size = picture_size(files.read(first), f"{self.path}: {first}")
            num_train = sum(row.is_train for row in rows.values())
            shape = (self.channels, *(self.sides or first_size))
            with new_arrays(root, num_train, len(rows) - num_train, shape, classes, self.path) as arrays:
                num_threads = 1 if math.prod(first_size) < LARGE_PICTURE else torch.get_num_threads()
                self._fill(arrays, files, rows, num_threads)

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote."""
        return read_arrays(root)

    def _fill(self, arrays: Arrays, files: Files, rows: Mapping[str, Row], num_threads: int) -> None:
        """Read the pictures block by block, in the order of the archive, and write each into its row."""
        from boundcheck.data.pictures import read_picture

        def read(name: str, content: bytes) -> np.ndarray:
            return read_picture(content, f"{self.path}: {name}", self.channels, self.sides, self.resize)

        names = [name for name in files.names if name in rows]
        with ThreadPoolExecutor(num_threads) as pool:
            apply = map if num_threads == 1 else pool.map
            for start in range(0, len(names), READ_AHEAD):
                block = names[start : start + READ_AHEAD]
                for name, picture in zip(block, apply(read, block, map(files.read, block)), strict=True):
                    is_train, index, label = rows[name]
                    inputs, labels = arrays[:2] if is_train else arrays[2:]
                    if picture.shape != inputs.shape[1:]:
                        sizes = f"{picture.shape[1:]}, those before it {inputs.shape[2:]} (height, width)"
                        raise DataError(f"{self.path}: {name} is {sizes}; set `size` to give all the same size")
                    inputs[index], labels[index] = picture, label


def find_pictures(names: Sequence[str], source: str) -> tuple[list[str], dict[str, Row]]:
    """The sorted class names, and the row of each picture by its file name.

    Args:
        names: the files of the directory or archive.
        source: its path, for error messages.

    Raises:
        DataError: a split has no pictures, or the splits have different classes.
    """
    top = _top(names, source)
    train = _split(names, f"{top}train/")
    test = _split(names, f"{top}test/") or _split(names, f"{top}val/")
    for split, pictures in (("train", train), ("test (or val)", test)):
        if not pictures:
            raise DataError(f"{source}: no pictures in {split}; expected {split}/<class>/*{{{','.join(SUFFIXES)}}}")
    classes = sorted({label for label, _ in train.values()})
    if odd := sorted({label for label, _ in test.values()}.symmetric_difference(classes)):
        missing = "test" if odd[0] in classes else "train"
        raise DataError(f"{source}: class {odd[0]!r} has no pictures in {missing}; both splits need the same classes")
    labels = {name: label for label, name in enumerate(classes)}
    rows: dict[str, Row] = {}
    for is_train, pictures in ((True, train), (False, test)):
        order = sorted(pictures, key=lambda name: hashlib.sha256("/".join(pictures[name]).encode()).digest())
        rows |= {name: Row(is_train, index, labels[pictures[name][0]]) for index, name in enumerate(order)}
    return classes, rows


def _top(names: Sequence[str], source: str) -> str:
    """The folder above `train/` with a slash, or "" if there is none."""
    tops = {"/".join(parts[: parts.index("train")]) for name in names if "train" in (parts := name.split("/")[:2])}
    if "" in tops or not tops:
        return ""
    if len(tops) > 1:
        raise DataError(f"{source}: several folders hold a `train`: {', '.join(sorted(tops))}; name one in `path`")
    return f"{tops.pop()}/"


def _split(names: Sequence[str], start: str) -> dict[str, tuple[str, str]]:
    """The class and the remaining path of each picture below the folder `start`, by its name."""
    pictures = {}
    for name in names:
        if name.startswith(start) and name.lower().endswith(SUFFIXES):
            label, _, file = name[len(start) :].partition("/")
            if file and not any(part.startswith(".") for part in (label, *file.split("/"))):
                pictures[name] = (label, file)
    return pictures
