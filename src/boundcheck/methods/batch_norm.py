"""Batch normalisation for optimizers that evaluate a mini-batch more than once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(model: nn.Module | None) -> Iterator[None]:
    """Make batch normalisation use the statistics of the batch, but not update its running statistics.

    Only the first pass at θ should update `running_mean`, `running_var` and `num_batches_tracked`: other passes are at
    perturbed parameters and use the same batch again. Layers in evaluation mode are not changed.

    Args:
        model: the network whose layers are frozen until the block ends, also after an error; None: do nothing.
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
