"""The trace of the training loss's Hessian."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal

import torch

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.loss_hessian import LossHessian, hessian_rows
from boundcheck.analyses.settings import Precision, check_loss_settings
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.trace import deflated_trace, exact_trace, hutch_plus_plus_trace
from boundcheck.settings import Count, Ge, settings


@settings
class Trace:
    """Rows `trace` = tr H(θ) and `trace_standard_error` (0 where it is exact).
    A network that is not finite has only the row `loss`.

    Args:
        estimator: "deflated" (Lanczos and Hutchinson), "hutch++", or "exact" (p products: tiny networks only).
        num_hvps: products that an estimator spends, >= 6.
        samples: examples from the start of the training split; None: all of it.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.
        retain: keep the gradient's graph of every chunk (fast, more memory).
    """

    quantities: ClassVar[str] = "loss trace trace_standard_error"

    estimator: Literal["deflated", "hutch++", "exact"] = "deflated"
    num_hvps: Annotated[int, Ge(6)] = 60
    samples: Count | None = 1000
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: Count | None = None
    retain: bool = True

    def __post_init__(self) -> None:
        check_loss_settings(self)

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        return hessian_rows(self, snapshot, partial(self._rows, snapshot.generator))

    def _rows(self, generator: torch.Generator, at: LossHessian) -> list[Row]:
        if self.estimator == "exact":
            estimate = exact_trace(at.hessian)
        elif self.estimator == "deflated":
            estimate = deflated_trace(at.hessian, self.num_hvps, generator)
        else:
            estimate = hutch_plus_plus_trace(at.hessian, self.num_hvps, generator)
        return [Row("trace", estimate.value), Row("trace_standard_error", estimate.standard_error)]
