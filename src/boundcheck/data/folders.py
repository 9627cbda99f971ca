"""Your own images: folders `train/<class>/*` and `test/<class>/*` (or `val/`), in a directory, a tar or a zip."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch

from boundcheck.contracts import Splits
from boundcheck.data.archives import open_files
from boundcheck.data.arrays import Arrays, new_arrays, read_arrays
from boundcheck.data.errors import DataError
from boundcheck.data.files import Files
from boundcheck.data.sizes import Sizes
from boundcheck.settings import CountOrZero, Ge, InnerShare, Le, Len, MinLen, NoTruth, in_words, settings

if TYPE_CHECKING:
    from boundcheck.data.class_folders import Row

READ_AHEAD = 256  # files held in memory at once
READ_AHEAD_BYTES = 2**28  # and no further file beyond so many bytes
LARGE_PICTURE = 128 * 128  # pixels; smaller ones are decoded faster by one thread than by several


ImagePath = Annotated[str, MinLen(1), in_words("a directory, a tar or a zip")]
Side = Annotated[int, Ge(1), Le(4096)]  # two of them are a quarter of the pixels that are read
Sides = Annotated[Sequence[Side], Len(2, 2), in_words("[height, width], each from 1 to 4096,")]


@settings
class ImageFolder:
    """Pictures of both splits in folders named by class, in a directory, tar or zip.

    The names of the splits may be written in any case; `val`, `valid` and `validation` are read where there are no
    pictures in `test`. Pictures lie in the folders of their classes; further ones of a class may lie in folders below.
    Labels follow the sorted class names; whole numbers are sorted by value. Rows are ordered by the sha256 of
    `<class>/<file>`. So the first k rows, and the first k rows of a class, are a random subset, whatever the files are
    called. Pictures are all files with a suffix of a format that Pillow decodes. Other files are passed over; the log
    of the fetch and `provenance.json` say which, and how many pictures of each class were read.

    Args:
        path: The directory or archive; one folder above `train/` is allowed.
        size: Side, or [height, width], of the stored images, in pixels; by default the size of the pictures, which
            must then all have the same size.
        channels: 1 (grey) or 3 (colour).
        resize: Length of the shorter side, in pixels, before the centre crop to `size` (ImageNet: resize 256, size
            224); by default the smallest length that covers `size`.
        background: Colour that transparent pictures are laid on; by default they are refused.
        split: Share of the pictures of each class that become test pictures, of a folder without test pictures: that
            has `<class>/*` or only `train/<class>/*`.
        split_seed: Another number chooses other test pictures.
    """

    path: ImagePath
    size: Side | Sides | None = None
    channels: Annotated[Literal[1, 3], NoTruth] = 3
    resize: Side | None = None
    background: Literal["black", "white"] | None = None
    split: InnerShare | None = None
    split_seed: CountOrZero = 0

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

    def fetch(self, root: Path) -> Mapping[str, Any]:
        """Read the pictures and write the array file of the dataset into `root`.

        Returns:
            what was read: the classes in the order of their labels, the number of pictures by split and class, what
            was passed over, and what was changed in pictures.
        """
        from boundcheck.data.class_folders import find_pictures
        from boundcheck.data.pictures import picture_size
        from boundcheck.data.split_folders import LINK

        with open_files(Path(self.path).expanduser()) as files:
            found = find_pictures(files.names, self.path, self.split, self.split_seed, files.repeats, files.doubles)
            first = next(name for name in files.names if name in found.rows)
            first_size = picture_size(files.read(first), f"{self.path}: {first}")
            shape = (self.channels, *(self.sides or first_size))
            num_test = len(found.rows) - found.num_train
            with new_arrays(root, found.num_train, num_test, shape, found.classes, self.path) as arrays:
                num_threads = 1 if math.prod(first_size) < LARGE_PICTURE else torch.get_num_threads()
                changes = self._fill(arrays, files, found.rows, num_threads)
        passed_over = found.passed_over
        if files.repeats:
            passed_over = {**passed_over, LINK: (len(files.repeats), files.repeats[0])}
        return {
            "classes": found.classes,
            "pictures": found.counts(),
            "passed over": {why: {"files": n, "first": name} for why, (n, name) in passed_over.items()},
            "changed": dict(changes),
        }

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote."""
        return read_arrays(root)

    def _fill(self, arrays: Arrays, files: Files, rows: Mapping[str, Row], num_threads: int) -> Counter[str]:
        """Read the pictures block by block, in the order of the archive, and write each into its row."""
        from boundcheck.data.pictures import Picture, read_picture

        def read(name: str, content: bytes) -> Picture:
            subject = f"{self.path}: {name}"
            return read_picture(content, subject, self.channels, self.sides, self.resize, self.background)

        changes = Counter[str]()
        with ThreadPoolExecutor(num_threads) as pool:
            apply = map if num_threads == 1 else pool.map
            for block in _blocks(files, [name for name in files.names if name in rows]):
                for name, (pixels, changed) in zip(block, apply(read, block.keys(), block.values()), strict=True):
                    is_train, index, label = rows[name]
                    inputs, labels = arrays[:2] if is_train else arrays[2:]
                    if pixels.shape != inputs.shape[1:]:
                        sizes = f"{pixels.shape[1:]}, those before it {inputs.shape[2:]} (height, width)"
                        raise DataError(f"{self.path}: {name} is {sizes}; set `size` to give all the same size")
                    inputs[index], labels[index] = pixels, label
                    changes.update(changed)
        return changes


def _blocks(files: Files, names: Sequence[str]) -> Iterator[dict[str, bytes]]:
    """The contents of the files by name, some at once."""
    block: dict[str, bytes] = {}
    for name in names:
        block[name] = files.read(name)
        if len(block) == READ_AHEAD or sum(map(len, block.values())) > READ_AHEAD_BYTES:
            yield block
            block = {}
    yield block
