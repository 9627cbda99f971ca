"""Batch normalisation in an optimizer that sees a mini-batch more than once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(model: nn.Module | None) -> Iterator[None]:
    """Let batch normalisation use the statistics of the batch and leave its running statistics alone.

    A perturbed θ is not where the network will be, and a second look at a batch is no second batch; so only the
    first pass at θ may move `running_mean`, `running_var` and `num_batches_tracked`. Layers in eval mode are untouched.

    Args:
        model: the network whose layers are frozen until the block ends, however it ends; None: nothing happens.
    """
    modules = () if model is None else model.modules()
    layers = [m for m in modules if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
