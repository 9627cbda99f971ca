"""Mean and standard deviation per channel, in rational arithmetic, so that the block size does not matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 18  # two MiB of float64: a block stays in the cache of one core


def blocks(inputs: Tensor) -> Iterator[Tensor]:
    """Split `inputs` (n, ...) into views of consecutive rows with about BLOCK_ELEMENTS numbers each."""
    yield from inputs.split(max(1, BLOCK_ELEMENTS // max(1, inputs[0].numel())))


def unit_scale(inputs: Tensor) -> int:
    """The divisor that brings stored numbers to [0, 1]: 255 for uint8, 1 for floats."""
    return 1 if inputs.is_floating_point() else 255


def channel_statistics(parts: Iterable[Tensor], num_channels: int, scale: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation per channel of the inputs divided by `scale`.

    μ_c = Σx / (n s),  σ_c² = Σx² / (n s²) − μ_c². The sums of a block are float64, which is exact for integers (images)
    and for multiples of 1/16. Blocks are added, and σ² is computed, in rational numbers: there is no cancellation, and
    the result does not depend on the blocks.

    Args:
        parts: Blocks (b, C, ...) of numbers, any dtype.
        num_channels: C.
        scale: s, such as 255 for uint8 images.

    Returns:
        mean (C,) and std (C,), float64.
    """
    count, totals, squares = 0, [Fraction()] * num_channels, [Fraction()] * num_channels
    for part in parts:
        values = part.to(torch.float64).reshape(*part.shape[:2], -1)  # (b, C, h·w)
        count += values[:, 0].numel()
        totals = _add(totals, values.sum((0, 2)))
        squares = _add(squares, values.square().sum((0, 2)))
    means = [total / count for total in totals]
    variances = [max(square / count - mean**2, Fraction(0)) for square, mean in zip(squares, means, strict=True)]
    mean = torch.tensor([float(mean / scale) for mean in means], dtype=torch.float64)
    std = torch.tensor([math.sqrt(variance / scale**2) for variance in variances], dtype=torch.float64)
    return mean, std


def _add(sums: list[Fraction], block: Tensor) -> list[Fraction]:
    return [so_far + Fraction(new) for so_far, new in zip(sums, block.tolist(), strict=True)]
