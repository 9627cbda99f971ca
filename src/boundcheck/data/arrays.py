"""A dataset on disk: one safetensors file, written row by row through a memory map and renamed when complete."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from boundcheck.contracts import Split, Splits
from boundcheck.data.errors import DataError, explained
from boundcheck.data.statistics import blocks, channel_statistics, unit_scale
from boundcheck.manifests import remedy

FILE_NAME = "arrays.safetensors"
FORMAT = "boundcheck arrays 1"
DISK_ADVICE = "free space there or choose a folder that can be written"
DAMAGE = (SafetensorError, OSError, KeyError, ValueError)
INPUT_TYPES = ("uint8", "float32", "float64")
NO_DIGEST = "0" * 64
SAFETENSORS_NAMES = {"float64": "F64", "int64": "I64", "float32": "F32", "uint8": "U8"}

Layout = dict[str, tuple[str, tuple[int, ...]]]  # name -> (dtype, shape), in the order of the file


class Arrays(NamedTuple):
    """The memory-mapped arrays to fill: inputs (n, *input_shape) and labels (n,) int64 of both splits."""

    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray


@contextmanager
def new_arrays(
    root: Path,
    num_train: int,
    num_test: int,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    source: str,
    dtype: str = "uint8",
) -> Iterator[Arrays]:
    """Write `<root>/arrays.safetensors` atomically, with a checksum and the statistics of the training inputs.

    The disk space is reserved first, then the caller fills the arrays in any order, and last the file gets its final
    name. So a dataset may be larger than the memory, and a full disk or a killed job leaves no incomplete file under
    that name.

    Args:
        root: Folder of the dataset; created if it does not exist.
        num_train: Number of training examples.
        num_test: Number of test examples.
        input_shape: Shape of one input, channels first.
        class_names: One name per label.
        source: Where the data comes from; stored in the file.
        dtype: "uint8" for images (0…255) or "float32" (in [0, 1]).

    Raises:
        DataError: an empty split, a label without a class, an input that is no finite number, or a disk that is full
            or read-only.
    """
    if not (num_train and num_test):
        empty = "test" if num_train else "train"
        raise DataError(f"{source}: {empty} split is empty; a dataset needs examples in both")
    layout: Layout = {  # widest numbers first, so that every array is aligned
        "mean": ("float64", (input_shape[0],)),
        "std": ("float64", (input_shape[0],)),
        "train_labels": ("int64", (num_train,)),
        "test_labels": ("int64", (num_test,)),
        "train_inputs": (dtype, (num_train, *input_shape)),
        "test_inputs": (dtype, (num_test, *input_shape)),
    }
    metadata = {"format": FORMAT, "source": source, "class_names": json.dumps(list(class_names)), "sha256": NO_DIGEST}
    temporary = root / f".{FILE_NAME}.{os.getpid()}.part"
    try:
        with explained(root, DISK_ADVICE, OSError):
            root.mkdir(parents=True, exist_ok=True)
            for leftover in root.glob(f".{FILE_NAME}.*.part"):  # of a job that was killed
                leftover.unlink()
            maps = _reserve(temporary, layout, metadata)
        arrays = Arrays(*(maps[name] for name in Arrays._fields))
        yield arrays
        _check_labels(arrays, len(class_names), source)
        _check_numbers(arrays, source)
        inputs = torch.from_numpy(arrays.train_inputs)
        mean, std = channel_statistics(blocks(inputs), inputs.shape[1], unit_scale(inputs))
        maps["mean"][:], maps["std"][:] = mean.numpy(), std.numpy()
        with explained(root, DISK_ADVICE, OSError):
            for array in maps.values():
                array.flush()
            _seal(temporary)
            os.replace(temporary, root / FILE_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(
    root: Path,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: Sequence[str],
    source: str,
) -> None:
    """Write a dataset that is in memory, as `new_arrays` does. `train` and `test` are (inputs, labels).

    Raises:
        DataError: as `new_arrays`, or inputs or labels of a type that cannot be stored as it is.
    """
    for name, (inputs, labels) in (("train", train), ("test", test)):
        if inputs.dtype != train[0].dtype or inputs.dtype.name not in INPUT_TYPES:
            allowed = f"{', '.join(INPUT_TYPES)}, the same in both splits"
            raise DataError(f"{source}: {name} inputs are {inputs.dtype}; allowed: {allowed}; convert them")
        if labels.dtype.kind not in "iu":
            raise DataError(f"{source}: {name} labels are {labels.dtype}; allowed: whole numbers; convert them")
    num_train, *shape = train[0].shape
    dtype = train[0].dtype.name
    with new_arrays(root, num_train, len(test[0]), shape, class_names, source, dtype) as arrays:
        arrays.train_inputs[:], arrays.train_labels[:] = train
        arrays.test_inputs[:], arrays.test_labels[:] = test


def read_arrays(root: Path) -> Splits:
    """Map `<root>/arrays.safetensors` into memory, after a check of its sha256, which reads 1.8 GB a second.

    Args:
        root: Folder of the dataset.

    Raises:
        DataError: the file is missing, truncated, altered or of another format.
    """
    path = root / FILE_NAME
    if not path.is_file():
        raise DataError(f"{path}: no such file; fetch the dataset first")
    with explained(path, remedy(path), *DAMAGE):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise DataError(f"{path}: its format is not {FORMAT!r}; {remedy(path)}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest, _ = _digest(path)
        if digest != metadata["sha256"]:
            problem = f"its content has changed: sha256 is {digest}, expected {metadata['sha256']}"
            raise DataError(f"{path}: {problem}; {remedy(path)}")
        class_names = tuple(json.loads(metadata["class_names"]))
        return Splits(
            train=Split(tensors["train_inputs"], tensors["train_labels"]),
            test=Split(tensors["test_inputs"], tensors["test_labels"]),
            input_shape=tuple(tensors["train_inputs"].shape[1:]),
            num_classes=len(class_names),
            mean=tensors["mean"],
            std=tensors["std"],
            class_names=class_names,
        )


def arrays_digest(path: Path) -> str:
    """The sha256 stored in the header of an array file. It says nothing unless the same job also reads the arrays."""
    with explained(path, remedy(path), *DAMAGE), safe_open(path, framework="pt") as file:
        return (file.metadata() or {})["sha256"]


def _reserve(path: Path, layout: Layout, metadata: dict[str, str]) -> dict[str, np.memmap]:
    """Write the safetensors header, reserve the space of the arrays and map them."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, (kind, shape) in layout.items():
        begin, end = end, end + math.prod(shape) * np.dtype(kind).itemsize
        entries[name] = {"dtype": SAFETENSORS_NAMES[kind], "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    start = 8 + len(header)
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):  # a sparse map would kill the job when the disk is full
            os.posix_fallocate(file.fileno(), 0, start + end)
        else:
            file.truncate(start + end)
        file.write(struct.pack("<Q", len(header)) + header)
    return {
        name: np.memmap(path, dtype=kind, mode="r+", offset=start + entries[name]["data_offsets"][0], shape=shape)
        for name, (kind, shape) in layout.items()
    }


def _digest(path: Path) -> tuple[str, int]:
    """The sha256 of the file, computed with zeros in place of the stored digest; and the digest's byte position."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = file.read(length)
        key = b'"sha256": "'
        at = header.index(key) + len(key)
        digest = hashlib.sha256(struct.pack("<Q", length) + header[:at] + NO_DIGEST.encode() + header[at + 64 :])
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest(), 8 + at


def _seal(path: Path) -> None:
    """Write the file's sha256 into its header and flush the file to the disk."""
    digest, at = _digest(path)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())


def _check_labels(arrays: Arrays, num_classes: int, source: str) -> None:
    for name, labels in (("train", arrays.train_labels), ("test", arrays.test_labels)):
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(f"{source}: a {name} label lies outside 0…{num_classes - 1}; check the source")


def _check_numbers(arrays: Arrays, source: str) -> None:
    for name, inputs in (("train", arrays.train_inputs), ("test", arrays.test_inputs)):
        if inputs.dtype.kind == "f" and not all(block.isfinite().all() for block in blocks(torch.from_numpy(inputs))):
            raise DataError(f"{source}: a {name} input is infinite or no number (NaN); replace it")
