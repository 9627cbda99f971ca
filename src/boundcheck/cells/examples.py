"""The examples of a cell on the device where it computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from boundcheck.cells.cell import Cell
from boundcheck.contracts import Splits
from boundcheck.data.arrays import read_arrays

NetworkInputs = Callable[[Tensor], Tensor]  # stored inputs -> normalised floats on the device, of the same batch shape


class Examples(NamedTuple):
    """The examples in use. Large data stay as they are stored; then `network_inputs` normalises them batch by batch."""

    splits: Splits
    network_inputs: NetworkInputs
    device: torch.device


def load_examples(cell: Cell, arrays: Path, device: torch.device) -> Examples:
    """The examples of a cell, from the array file of its dataset."""
    splits = cell.view.apply(read_arrays(arrays.parent), device, cell.dtype)
    return Examples(splits, cell.view.batch(splits, device, cell.dtype), device)


def prepared_device(threads: int) -> torch.device:
    """The GPU, or the CPU where there is none, set up so that float32 means float32 (for speed there is bfloat16)."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
