"""The arithmetic of a view: choose examples, average pixels, normalise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from boundcheck.contracts import Split, Splits
from boundcheck.data.errors import DataError
from boundcheck.data.sizes import pooled_shape
from boundcheck.data.statistics import blocks, channel_statistics, unit_scale


def stratified(split: Split, size: int | None, num_classes: int, field: str) -> Split:
    """The first size/K examples of each of the K classes, in stored order; the full split if `size` is None.

    Raises:
        DataError: `size` is not a multiple of K, or a class has too few examples.
    """
    labels = split.labels
    if size is None or size == len(labels):
        return split
    if size % num_classes:
        raise DataError(f"{field}: got {size}; allowed: multiples of {num_classes}, the number of classes")
    counts = labels.bincount(minlength=num_classes)
    most = int(counts.min()) * num_classes
    if size > most:
        raise DataError(f"{field}: got {size}; allowed: at most {most}, for the smallest class has {int(counts.min())}")
    by_class = labels.argsort(stable=True)
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[by_class]]  # within its class
    rows = by_class[rank < size // num_classes].sort().values
    return Split(split.inputs[rows], labels[rows])


def choose(splits: Splits, train_size: int | None, test_size: int | None, pool: int | None) -> Splits:
    """The chosen examples as they are stored, with the input shape and statistics that they have after pooling.

    Raises:
        DataError: a size or `pool` does not fit the data.
    """
    num_classes = splits.num_classes
    train = stratified(splits.train, train_size, num_classes, "train_size")
    test = stratified(splits.test, test_size, num_classes, "test_size")
    try:
        shape = pooled_shape(splits.input_shape, pool)
    except ValueError as error:
        raise DataError(str(error)) from None
    chosen = splits._replace(train=train, test=test, input_shape=shape)
    if train is splits.train and shape == splits.input_shape:
        return chosen
    window = pool_window(chosen)
    sums = (window_sums(block, window) for block in blocks(train.inputs))
    mean, std = channel_statistics(sums, shape[0], math.prod(window) * unit_scale(train.inputs))
    return chosen._replace(mean=mean, std=std)


def two_classes(splits: Splits, positive: Sequence[int]) -> Splits:
    """The examples with two classes: label 1 if the original label is in `positive`, else 0."""
    wanted = torch.tensor(positive)
    train, test = (Split(part.inputs, torch.isin(part.labels, wanted).long()) for part in (splits.train, splits.test))
    return splits._replace(train=train, test=test, num_classes=2, class_names=())


def pool_window(splits: Splits) -> tuple[int, int]:
    """Height and width of the window of stored pixels that is averaged to one pixel of the network's input."""
    stored, seen = splits.train.inputs.shape[1:], splits.input_shape
    return (stored[1] // seen[1], stored[2] // seen[2]) if len(seen) == 3 else (1, 1)


def window_sums(inputs: Tensor, window: tuple[int, int]) -> Tensor:
    """Sums over windows of pixels, (..., C, H, W) -> (..., C, H/h, W/w) float64; exact if pixels are integers."""
    values = inputs.to(torch.float64)
    if window == (1, 1):
        return values
    sums = F.avg_pool2d(values.reshape(-1, *values.shape[-3:]), window, divisor_override=1)
    return sums.view(*values.shape[:-2], *sums.shape[-2:])


@dataclass(frozen=True)
class Normaliser:
    """Turns stored inputs into network inputs (..., *input_shape). Computes in float64 and rounds once, to `dtype`.

    Let x be the pooled inputs scaled to [0, 1], with d numbers each. `standard`: (x − mean)/std per channel; `unit`:
    x; `sphere`: √d x/‖x‖; `none`: the pooled inputs in the stored unit (0…255 for images).
    """

    normalise: str
    window: tuple[int, int]
    input_shape: tuple[int, ...]  # after pooling
    mean: Tensor  # (C,) float64
    std: Tensor  # (C,) float64
    device: torch.device | str
    dtype: torch.dtype

    @classmethod
    def of(cls, splits: Splits, normalise: str, device: torch.device | str, dtype: torch.dtype) -> Normaliser:
        """The normaliser for examples that `choose` returned."""
        window = pool_window(splits)
        return cls(normalise, window, splits.input_shape, splits.mean, splits.std, device, dtype)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Normalise a batch.

        Raises:
            DataError: an input is zero and `normalise` is `sphere`: it has no direction.
        """
        sums = window_sums(inputs.to(self.device), self.window)
        area = math.prod(self.window)
        if self.normalise == "none":
            return (sums / area).to(self.dtype)
        x = sums / (area * unit_scale(inputs))
        if self.normalise == "standard":
            x = (x - self._per_channel(self.mean)) / self._per_channel(torch.where(self.std > 0, self.std, 1.0))
        elif self.normalise == "sphere":
            x = self._on_sphere(x)
        return x.to(self.dtype)

    def convert(self, split: Split) -> Split:
        """Normalise all inputs of a split, block by block."""
        inputs = torch.empty(len(split.labels), *self.input_shape, dtype=self.dtype, device=self.device)
        start = 0
        for block in blocks(split.inputs):
            inputs[start : start + len(block)] = self(block)
            start += len(block)
        return Split(inputs, split.labels.to(self.device))

    def _per_channel(self, statistic: Tensor) -> Tensor:
        return statistic.to(self.device).view(-1, *[1] * (len(self.input_shape) - 1))

    def _on_sphere(self, x: Tensor) -> Tensor:
        axes = tuple(range(-len(self.input_shape), 0))
        norm = torch.linalg.vector_norm(x, dim=axes, keepdim=True)
        if not bool(norm.all()):
            raise DataError(
                "normalise: an input is zero everywhere and cannot lie on a sphere; use `standard` or `unit`"
            )
        return x * (math.sqrt(math.prod(self.input_shape)) / norm)
