"""Whether a network can be trained on so many examples in batches of such a size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from boundcheck.cells.cell import Cell
from boundcheck.cells.networks import build_network
from boundcheck.contracts import Analysis, Splits
from boundcheck.data.errors import DataError


def has_lone_example(num_train: int, batch_size: int | Literal["full"]) -> bool:
    """Whether a batch of an epoch has one example only."""
    size = num_train if batch_size == "full" else min(batch_size, num_train)
    return size == 1 or num_train % size == 1


def batch_problem(
    network: nn.Module, input_shape: tuple[int, ...], num_train: int, batch_size: int | Literal["full"]
) -> str | None:
    """Why the smallest batch of an epoch is too small for the network; None if it is not.

    Batch normalisation of one number per channel gives zeros, whatever the number is. Whether a network does that is
    seen by a pass of one example: its layers refuse it.

    Args:
        network: on any device, also the meta device; it is left in training mode.
        input_shape: of one example.
        num_train: number of training examples.
        batch_size: of the training settings.
    """
    if not has_lone_example(num_train, batch_size):
        return None
    if not _needs_two(network, input_shape):
        return None
    sizes = f"batch_size {batch_size} and {num_train} training examples make a batch of 1"
    advice = "set a batch_size or train_size without such a remainder"
    return f"{sizes}, and the network's batch normalisation needs 2 or more; {advice}"


def has_lone_sample(analysis: Analysis, num_train: int | None) -> bool:
    """Whether an analysis takes statistics of a batch of one example; `num_train` is None where it is not known."""
    mode = getattr(analysis, "batch_norm", "eval")
    counts = [count for count in (getattr(analysis, "samples", None), num_train) if count is not None]
    if mode == "eval" or not counts:
        return False
    size, num = min(counts), getattr(analysis, "chunk_size", None)
    num_batches = -(-size // num) if num and mode == "recompute" else 1  # as equal as they can be
    return size // num_batches == 1


def sample_problem(
    network: nn.Module, input_shape: tuple[int, ...], analysis: Analysis, num_train: int | None
) -> str | None:
    """Why an analysis has too few examples for the network's batch statistics, as `batch_problem`; None if not."""
    if not has_lone_sample(analysis, num_train) or not _needs_two(network, input_shape):
        return None
    problem = "its samples make a batch of 1, and the network's batch normalisation needs 2 or more"
    return f"batch_norm: {problem}; set more samples, another chunk_size, or batch_norm eval"


def _needs_two(network: nn.Module, input_shape: tuple[int, ...]) -> bool:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    dtype = next((parameter.dtype for parameter in network.parameters()), None)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network.train()(torch.zeros(1, *input_shape, device=device, dtype=dtype))
    except ValueError:
        return True
    except (NotImplementedError, RuntimeError):  # the meta device lacks a layer: the job finds out with real weights
        return False
    return False


def refuse_unmeasurable(cell: Cell, splits: Splits) -> None:
    """Check the sizes of the batches of a cell's analyses before it is measured.

    Raises:
        DataError: batch statistics would be those of one example.
    """
    num_train = len(splits.train.labels)
    for name, analysis in cell.analyses.items():
        if has_lone_sample(analysis, num_train):
            network = build_network(cell, splits, cell.seeds[0])
            if problem := sample_problem(network, splits.input_shape, analysis, num_train):
                raise DataError(f"{cell.names}: analysis {name}: {problem}")


def refuse_untrainable(cell: Cell, splits: Splits) -> None:
    """Check the sizes of a cell's examples before its training.

    Raises:
        DataError: nothing can be learnt from the examples, or a batch is too small.
    """
    num_train, batch_size, problem = len(splits.train.labels), cell.training.batch_size, None
    if has_lone_example(num_train, batch_size):
        network = build_network(cell, splits, cell.seeds[0])
        problem = batch_problem(network, splits.input_shape, num_train, batch_size)
    seen = splits.train.labels.unique().tolist()
    if problem is None and len(seen) == 1 and splits.num_classes > 1 and cell.training.loss != "reconstruction":
        problem = f"all {num_train} training examples are of class {seen[0]}; take examples of two classes or more"
    if problem:
        raise DataError(f"{cell.names}: dataset {cell.names.dataset}: {problem}")


def remarks(cell: Cell, splits: Splits) -> Iterator[str]:
    """What a reader of the log should know about the sizes."""
    num_train, size = len(splits.train.labels), cell.training.batch_size
    if size != "full" and size > num_train:
        yield f"batch_size {size} is more than the {num_train} training examples: every step uses all of them"
    if absent := sorted({*range(splits.num_classes)} - {*splits.train.labels.unique().tolist()}):
        yield f"classes without training examples: {', '.join(map(str, absent))}"
