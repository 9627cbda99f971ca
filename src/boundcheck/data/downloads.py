"""Datasets that are downloaded. Addresses, md5 sums and file formats come from torchvision's classes."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import StringConstraints

from boundcheck.contracts import Splits
from boundcheck.data.archives import extract
from boundcheck.data.arrays import read_arrays, write_arrays
from boundcheck.data.errors import explained
from boundcheck.data.sizes import Sizes
from boundcheck.data.transfer import download, locked
from boundcheck.settings import in_words, settings

MAX_BYTES = 2**28  # of one file; the largest, of cifar10, has 170 MB
UNPACK_ADVICE = "free space there, or delete the downloads beside it, and fetch again"


Address = Annotated[
    str,
    StringConstraints(pattern=r"^https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:[0-9]{1,5})?(/[!-~]*)?$"),
    in_words("an address that begins with http:// or https:// and names a host"),
]


@settings
class _Download:
    """A dataset of torchvision.

    Checked files are kept in `downloads/<kind>/` beside the dataset's folder. Variants share them, and on a machine
    without network you can put them there yourself.

    Args:
        mirror: address of a folder that holds the files, instead of the usual addresses.
    """

    mirror: Address | None = None
    kind: ClassVar[str]
    torchvision_name: ClassVar[str]
    sizes: ClassVar[Sizes]

    def fetch(self, root: Path) -> None:
        """Download what is missing, check it, and write the array file of the dataset into `root`."""
        import torchvision.datasets

        source = getattr(torchvision.datasets, self.torchvision_name)
        folder = root.parent / "downloads" / self.kind
        with locked(folder):
            archives = []
            for name, addresses, md5 in _files(source):
                if self.mirror is not None:
                    addresses = [f"{self.mirror.rstrip('/')}/{name}"]
                download(addresses, folder / name, f"md5:{md5}", max_bytes=MAX_BYTES)
                archives.append(folder / name)
            with _unpacked(source, archives, folder / ".unpacked") as unpacked:
                train, test = (_read(source, unpacked, is_train) for is_train in (True, False))
        source_name = f"torchvision.datasets.{self.torchvision_name}"
        write_arrays(root, train[:2], test[:2], train[2], source_name)

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote."""
        return read_arrays(root)


@settings
class MNIST(_Download):
    """60,000 and 10,000 handwritten digits, (1, 28, 28) uint8.

    References:
        LeCun, Bottou, Bengio, Haffner 1998, doi:10.1109/5.726791.
    """

    kind, torchvision_name = "mnist", "MNIST"
    sizes = Sizes((1, 28, 28), 10, 60_000, 10_000)


@settings
class FashionMNIST(_Download):
    """60,000 and 10,000 pictures of clothes, (1, 28, 28) uint8.

    References:
        Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
    """

    kind, torchvision_name = "fashion_mnist", "FashionMNIST"
    sizes = Sizes((1, 28, 28), 10, 60_000, 10_000)


@settings
class CIFAR10(_Download):
    """50,000 and 10,000 colour pictures of 10 classes, (3, 32, 32) uint8.

    References:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    kind, torchvision_name = "cifar10", "CIFAR10"
    sizes = Sizes((3, 32, 32), 10, 50_000, 10_000)


@settings
class CIFAR100(_Download):
    """50,000 and 10,000 colour pictures of 100 (fine) classes, (3, 32, 32) uint8.

    References:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """

    kind, torchvision_name = "cifar100", "CIFAR100"
    sizes = Sizes((3, 32, 32), 100, 50_000, 10_000)


def _files(source: Any) -> list[tuple[str, list[str], str]]:
    """Name, addresses and md5 sum of each file that a torchvision class downloads."""
    if hasattr(source, "resources"):
        return [(name, [mirror + name for mirror in source.mirrors], md5) for name, md5 in source.resources]
    return [(source.filename, [source.url], source.tgz_md5)]


@contextmanager
def _unpacked(source: Any, archives: list[Path], folder: Path) -> Iterator[Path]:
    """Unpack the checked archives as the torchvision class expects; the folder is deleted after the block."""
    shutil.rmtree(folder, ignore_errors=True)  # of a job that was killed
    try:
        with explained(folder, UNPACK_ADVICE, OSError, EOFError, zlib.error):
            (_unpack_idx if hasattr(source, "resources") else _unpack_batches)(source, archives, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack_idx(source: Any, archives: list[Path], folder: Path) -> None:
    raw = folder / source.__name__ / "raw"
    raw.mkdir(parents=True)
    for archive in archives:
        with gzip.open(archive) as packed, open(raw / archive.stem, "wb") as plain:
            shutil.copyfileobj(packed, plain)


def _unpack_batches(source: Any, archives: list[Path], folder: Path) -> None:
    batches = [name for name, _ in [*source.train_list, *source.test_list]]
    names = [f"{source.base_folder}/{name}" for name in [*batches, source.meta["filename"]]]
    extract(archives[0], names, folder)


def _read(source: Any, folder: Path, is_train: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images (n, C, h, w) uint8, labels (n,) and class names of one split."""
    name = f"torchvision.datasets.{source.__name__}"
    with explained(f"{name} in {folder}", "the files do not have the expected form: delete the downloads", Exception):
        split = source(str(folder), train=is_train, download=False)
        images = np.asarray(split.data)
        images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        return images, np.asarray(split.targets), list(split.classes)
