"""The ends of the Hessian's spectrum: sharpness, smallest eigenvalue, spectral norm."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.loss_hessian import LossHessian, hessian_rows
from boundcheck.analyses.settings import Precision, check_loss_settings
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.lanczos import LanczosResult, lanczos
from boundcheck.settings import Count, CountOrZero, Positive, settings


@settings
class HessianSpectrum:
    """Largest and smallest eigenvalues of the training loss's Hessian, each with a bound on its error.

    Rows: `eigenvalue` (index: its place in descending order, so the smallest has index p − 1), `sharpness` = λ_max,
    `smallest_eigenvalue` = λ_min, `spectral_norm` = max(|λ_max|, |λ_min|), `scale_free_sharpness` = λ_max ‖θ‖²,
    `parameter_norm` = ‖θ‖, `loss`, `gradient_norm`, `num_hvps`, and `converged`: 1, or 0 where `max_hvps` products were
    too few for the values to settle, or to exclude that an eigenvalue was missed. A network that is not finite has only
    the row `loss`.
    The error bounds how far the value is from the eigenvalue of its place; the value itself is as a rule right to
    `tolerance`. Of an end of which a single eigenvalue is measured the error is the residual: some eigenvalue lies that
    close.

    Args:
        top_k: how many of the largest eigenvalues; of two and more copies are counted, which takes more products.
        bottom_k: how many of the smallest; likewise.
        samples: examples from the start of the training split; None: all of it.
        tolerance: relative accuracy of the eigenvalues, as a rule: errors up to 16 times as large were seen. The row's
            error covered all of them.
        residual_tolerance: relative size that the residuals must reach.
        max_hvps: Hessian-vector products allowed; see `converged`.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.
        retain: keep the gradient's graph of every chunk (fast, more memory).
    """

    quantities: ClassVar[str] = (
        "loss gradient_norm parameter_norm num_hvps converged eigenvalue sharpness scale_free_sharpness "
        "smallest_eigenvalue spectral_norm"
    )

    top_k: Count = 5
    bottom_k: CountOrZero = 1
    samples: Count | None = 1000
    tolerance: Positive = 1e-3
    residual_tolerance: Positive = 0.1
    max_hvps: Count = 300
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
        hessian = at.hessian
        spectrum = lanczos(
            hessian,
            generator,
            self.top_k,
            self.bottom_k,
            tolerance=self.tolerance,
            residual_tolerance=self.residual_tolerance,
            max_matvecs=self.max_hvps,
        )
        norm = torch.linalg.vector_norm(at.theta, dtype=torch.float64).item()
        return [
            Row("loss", hessian.loss.item()),
            Row("gradient_norm", torch.linalg.vector_norm(hessian.gradient, dtype=torch.float64).item()),
            Row("parameter_norm", norm),
            Row("num_hvps", spectrum.num_matvecs),
            Row("converged", float(spectrum.converged)),
            *self._spectrum_rows(spectrum, hessian.size, norm),
        ]

    def _spectrum_rows(self, spectrum: LanczosResult, size: int, parameter_norm: float) -> list[Row]:
        values, errors = spectrum.eigenvalues.tolist(), spectrum.errors.tolist()
        num_bottom = min(self.bottom_k, len(values))
        places = [*range(len(values) - num_bottom), *range(size - num_bottom, size)]
        rows = [
            Row("eigenvalue", value, index, error=error)
            for value, index, error in zip(values, places, errors, strict=True)
        ]
        rows.append(Row("sharpness", values[0], error=errors[0]))
        rows.append(Row("scale_free_sharpness", values[0] * parameter_norm**2, error=errors[0] * parameter_norm**2))
        if self.bottom_k:
            rows.append(Row("smallest_eigenvalue", values[-1], error=errors[-1]))
            rows.append(Row("spectral_norm", max(abs(values[0]), abs(values[-1])), error=max(errors[0], errors[-1])))
        return rows
