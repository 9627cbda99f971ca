"""Zeroth- and first-order flatness at several radii, with what bounds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.loss_hessian import LossHessian, hessian_rows
from boundcheck.analyses.settings import Precision, check_loss_settings
from boundcheck.contracts import LossFunction, Row, Snapshot
from boundcheck.curvature.flatness import flatness
from boundcheck.curvature.hessian_lipschitz import hessian_lipschitz
from boundcheck.curvature.lanczos import lanczos
from boundcheck.settings import Count, CountOrZero, NotNegative, Positive, settings
from boundcheck.theory.gam.flatness import scaling_exponent


@settings
class Flatness:
    """R⁰_ρ(θ) and R¹_ρ(θ) of the training loss, from many starts; both are attained, hence never above the maximum.

    Rows: `num_samples`, `loss`, `gradient_norm`, `parameter_norm`, `spectral_norm` (‖H(θ)‖₂, with its certified
    error), and per radius (coordinate = ρ) `zeroth_order_flatness`, `first_order_flatness`, `one_step_ratio` (the R¹
    that one ascent step reaches, over the R¹ found), `hessian_lipschitz` (a lower estimate of γ₂, from where the
    evaluator went; it never falls with ρ), `num_gradients` and `num_hvps`; of two radii or more
    `first_order_exponent`, the slope of log R¹ over log ρ.
    The error of both flatnesses is an estimate of how far they lie below the maximum, and no bound: what the best
    ascent may still gain, and what more starts would find by the spread of the ascents (`curvature.ball.shortfall`).
    Where they all reach one maximum the estimate is 0, and says nothing of other maxima, which may be higher. It is NaN
    where a single ascent was followed. Those of `one_step_ratio` and `first_order_exponent` follow from it.
    Radii relative to ‖θ‖ give the same rows named `relative_...`, coordinate = κ.
    Larger radii start also from the maximisers of smaller ones, so both flatnesses grow with ρ.
    A network that is not finite has only the row `loss`.

    Args:
        rhos: radii ρ, in units of θ.
        relative_rhos: radii κ, with ρ = κ‖θ‖.
        samples: examples from the start of the training split; None: all of it.
        starts: random starts.
        iterations: ascent steps from each start.
        hessian_change: whether γ₂ is estimated: a third of the time, and without a meaning where L has kinks (ReLU).
        ascents: of all starts those with the largest values are followed, so many; None: all.
        segment: grid points between θ and the maximiser of R⁰.
        tolerance: an ascent ends early when it moves by less than tolerance · ρ.
        least_rise: an ascent ends early when a step raises the value by less than this share of it.
        dtype: precision; float32 blurs the values at small radii.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.
        retain: keep the gradient's graph of every chunk (fast, more memory).
    """

    quantities: ClassVar[str] = (
        "num_samples loss gradient_norm parameter_norm spectral_norm zeroth_order_flatness first_order_flatness "
        "one_step_ratio num_gradients num_hvps hessian_lipschitz relative_* first_order_exponent"
    )

    rhos: Sequence[Positive] = (0.01, 0.05, 0.1, 0.2)
    relative_rhos: Sequence[Positive] = ()
    samples: Count | None = 1000
    starts: CountOrZero = 3
    iterations: Count = 20
    hessian_change: bool = True
    ascents: Count | None = None
    segment: Count = 20
    tolerance: Positive = 1e-3
    least_rise: NotNegative = 0.0
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: Count | None = None
    retain: bool = True

    def __post_init__(self) -> None:
        if not [*self.rhos, *self.relative_rhos]:
            raise ValueError("rhos, relative_rhos: got no radius; allowed: at least one")
        check_loss_settings(self)

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        num_samples = len(snapshot.train.first(self.samples).labels)
        return hessian_rows(self, snapshot, partial(self._rows, snapshot.generator, num_samples))

    def _rows(self, generator: torch.Generator, num_samples: int, at: LossHessian) -> list[Row]:
        losses, theta, hessian = at
        spectrum = lanczos(hessian, generator, by_magnitude=True)
        norm = torch.linalg.vector_norm(theta, dtype=torch.float64).item()
        rows = [
            Row("num_samples", num_samples),
            Row("loss", hessian.loss.item()),
            Row("gradient_norm", torch.linalg.vector_norm(hessian.gradient, dtype=torch.float64).item()),
            Row("parameter_norm", norm),
            Row("spectral_norm", spectrum.eigenvalues[0].abs().item(), error=spectrum.residuals[0].item()),
        ]
        radii = [(rho, "", rho) for rho in self.rhos]
        radii += [(kappa * norm, "relative_", kappa) for kappa in self.relative_rhos]
        candidates: list[Tensor] = []
        lipschitz = 0.0
        for rho, prefix, coordinate in sorted(radii):
            if rho > 0:
                radius_rows, errors, candidates = self._at_radius(
                    losses, theta, rho, spectrum.eigenvectors[0], candidates, generator
                )
                if self.hessian_change:
                    lipschitz = radius_rows["hessian_lipschitz"] = max(lipschitz, radius_rows["hessian_lipschitz"])
                rows += [
                    Row(prefix + name, value, coordinate=coordinate, error=errors.get(name, math.nan))
                    for name, value in radius_rows.items()
                ]
        return [*rows, *_exponent(rows)]

    def _at_radius(
        self,
        losses: Sequence[LossFunction],
        theta: Tensor,
        rho: float,
        top_eigenvector: Tensor,
        candidates: Sequence[Tensor],
        generator: torch.Generator,
    ) -> tuple[dict[str, float], dict[str, float], list[Tensor]]:
        """What is measured at ρ by name, the errors of it, and the perturbations to try at a larger radius."""
        result = flatness(
            losses,
            theta,
            rho,
            generator,
            starts=self.starts,
            iterations=self.iterations,
            top_eigenvector=top_eigenvector,
            segment=self.segment,
            candidates=candidates,
            tolerance=self.tolerance,
            retain=self.retain,
            ascents=self.ascents,
            least_rise=self.least_rise,
        )
        maximisers = [result.maximiser, result.zeroth_maximiser]
        values = {
            "zeroth_order_flatness": result.zeroth,
            "first_order_flatness": result.first,
            "one_step_ratio": result.one_step_first / result.first if result.first else math.nan,
            "num_gradients": float(result.num_gradients),
            "num_hvps": float(result.num_hvps),
        }
        if self.hessian_change:
            places = [*maximisers, rho * top_eigenvector, -rho * top_eigenvector]
            values["hessian_lipschitz"] = hessian_lipschitz(losses, theta, places, generator, retain=self.retain)
        first, missed = result.first, result.first_shortfall
        errors = {
            "zeroth_order_flatness": result.zeroth_shortfall,
            "first_order_flatness": missed,
            "one_step_ratio": values["one_step_ratio"] * missed / (first + missed) if first else math.nan,
        }
        return values, errors, maximisers


def _exponent(rows: Sequence[Row]) -> list[Row]:
    """The slope of log R¹ over log ρ, where two absolute radii or more have a positive R¹.

    Its error is what it moves by where R¹ grows by its own at the larger radii only, or at the smaller ones only.
    """
    kept = [row for row in rows if row.quantity == "first_order_flatness" and row.value > 0]
    by_radius = {row.coordinate: row for row in kept}
    if len(by_radius) < 2:
        return []
    radii = list(by_radius)
    middle = sum(map(math.log, radii)) / len(radii)

    def slope(raised: Callable[[float], bool]) -> float:
        values = [row.value + raised(math.log(radius)) * row.error for radius, row in by_radius.items()]
        return float(scaling_exponent(radii, values))

    found = float(scaling_exponent(radii, [row.value for row in by_radius.values()]))
    highest, lowest = slope(lambda at: at > middle), slope(lambda at: at <= middle)
    return [Row("first_order_exponent", found, error=max(highest - found, found - lowest))]
