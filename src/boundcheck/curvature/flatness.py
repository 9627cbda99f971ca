"""Zeroth- and first-order flatness: how far the loss, and its gradient norm, rise within a ball around θ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.contracts import LossFunction
from boundcheck.curvature.ball import Ball, ascend, largest, norm, shortfall, steepest_on_segment
from boundcheck.curvature.operator import random_direction


@dataclass(frozen=True)
class FlatnessResult:
    """Both flatnesses at one radius. `zeroth` and `first` are attained, so they are lower bounds on the maxima.

    Attributes:
        rho: ρ, in units of θ.
        loss: L(θ).
        gradient_norm: ‖∇L(θ)‖.
        zeroth: R⁰_ρ(θ), in units of the loss, attained at `zeroth_maximiser` δ (p,).
        first: R¹_ρ(θ), in units of the loss, attained at `maximiser` δ (p,).
        zeroth_shortfall: an estimate of how far `zeroth` lies below the maximum; see `ball.shortfall`.
        first_shortfall: likewise of `first`; both NaN where a single ascent was followed.
        one_step_first: ρ‖∇L(θ + δ₁)‖ after one step of the ascent from θ, the point at which GAM stops.
        history: the gradient norm along the ascent from each start that was followed; from θ one step at least.
        num_gradients: gradients evaluated.
        num_hvps: Hessian-vector products evaluated.
    """

    rho: float
    loss: float
    gradient_norm: float
    zeroth: float
    zeroth_maximiser: Tensor
    first: float
    maximiser: Tensor
    zeroth_shortfall: float
    first_shortfall: float
    one_step_first: float
    history: Mapping[str, Sequence[float]]
    num_gradients: int
    num_hvps: int


def flatness(
    losses: LossFunction | Sequence[LossFunction],
    theta: Tensor,
    rho: float,
    generator: torch.Generator,
    starts: int = 3,
    iterations: int = 20,
    top_eigenvector: Tensor | None = None,
    segment: int = 20,
    candidates: Sequence[Tensor] = (),
    tolerance: float = 1e-3,
    retain: bool = True,
    ascents: int | None = None,
    least_rise: float = 0.0,
) -> FlatnessResult:
    """R⁰_ρ(θ) = max_{‖δ‖≤ρ} L(θ+δ) − L(θ) and R¹_ρ(θ) = ρ max_{‖δ‖≤ρ} ‖∇L(θ+δ)‖, by ascent from many starts.

    R⁰: δ ← ρ g/‖g‖ with g = ∇L(θ+δ), from 0, ±ρv₁, random points of the sphere and `candidates`.
    R¹: δ ← ρ f/‖f‖ with f = ∇‖∇L‖ = Hg/‖g‖ at θ+δ, from the same starts, from the maximiser of R⁰, and from the
    steepest of `segment` points between 0 and that. Each step maximises the linear model on the ball (Frank–Wolfe), so
    it rises where L is convex (for R¹: a quadratic); elsewhere a step that does not rise is halved. Both keep the best
    of all points evaluated, so neither exceeds its maximum. With `ascents`, every start is evaluated (of the maximiser
    of R⁰ the steepest point on the way to it) and the best are followed, at a sixth to a half of the cost: values are
    mostly within a percent of those from all starts, at large radii now and then several percent lower.
    R⁰ ≤ R¹ holds for the results, not only for the maxima: by the mean value theorem the gradient norm is at least
    R⁰/ρ somewhere on the segment; where no grid point shows it, bisection on the steeper half seeks the point.

    Args:
        losses: L, or chunks whose sum it is.
        theta: θ (p,).
        rho: ρ > 0, in units of θ.
        generator: draws the random starts.
        starts: how many.
        iterations: steps K of each ascent.
        top_eigenvector: v₁ (p,) of the Hessian, largest in magnitude.
        segment: grid points on the segment.
        candidates: further starts with ‖δ‖ ≤ ρ; with the maximisers of a smaller radius the results grow with ρ.
        tolerance: an ascent ends early when δ moves by less than tolerance · ρ.
        retain: as in HessianOperator.
        ascents: how many starts are followed, those with the largest values; None: all.
        least_rise: an ascent ends early when a step raises the value by less than this share of it.

    Returns: both values, where they are attained, and the cost.

    Raises:
        ValueError: a radius or count that makes no sense.

    References: Zhang, Xu, Yu, Zou, Cui 2023, Gradient norm aware minimization (the definitions); the evaluator and the
        remark on one step are derived here; Frank, Wolfe 1956 (the ascent).
    """
    counts = {"starts": (starts, 0), "iterations": (iterations, 1), "segment": (segment, 1), "ascents": (ascents, 1)}
    for name, (count, least) in counts.items():
        if count is not None and count < least:
            raise ValueError(f"{name}: got {count}; allowed: >= {least}")
    if not rho > 0:
        raise ValueError(f"rho: got {rho}; allowed: > 0")
    if not least_rise >= 0:
        raise ValueError(f"least_rise: got {least_rise}; allowed: >= 0")
    ball = Ball(losses, theta, rho, tolerance, least_rise, retain)
    points = {"centre": torch.zeros_like(theta)}
    if top_eigenvector is not None:
        pole = rho * top_eigenvector / torch.linalg.vector_norm(top_eigenvector)
        points |= {"plus_top": pole, "minus_top": -pole}
    points |= {f"random_{i}": rho * random_direction(ball.centre, generator) for i in range(starts)}
    points |= {f"candidate_{i}": candidate for i, candidate in enumerate(candidates)}

    heights = {name: ball.height(point) for name, point in points.items()}
    climbs = [
        ascend(ball, ball.height, points[name], iterations, heights[name])
        for name in largest({name: gain for name, (gain, _) in heights.items()}, ascents)
    ]
    gain, summit = ball.highest.value, ball.highest.delta
    norms = {name: norm(gradient()) for name, (_, gradient) in heights.items()}
    if gain > 0:
        steepest = steepest_on_segment(ball, gain, summit, segment)
        if ascents is None and not torch.equal(steepest.delta, summit):
            points["summit"] = summit
        points["segment"], norms["segment"] = steepest.delta, steepest.value
    followed = {
        name: ascend(ball, ball.steepness, points[name], iterations)
        for name in (points if ascents is None else largest(norms, ascents))
    }
    history = {name: ascent.values for name, ascent in followed.items()}
    if "centre" not in history:
        history["centre"] = ascend(ball, ball.steepness, points["centre"], iterations=1).values
    return FlatnessResult(
        rho=rho,
        loss=ball.centre.loss.item(),
        gradient_norm=history["centre"][0],
        zeroth=gain,
        zeroth_maximiser=summit,
        first=rho * ball.steepest.value,
        maximiser=ball.steepest.delta,
        zeroth_shortfall=shortfall(gain, climbs),
        first_shortfall=rho * shortfall(ball.steepest.value, [*followed.values()]),
        one_step_first=rho * history["centre"][min(1, len(history["centre"]) - 1)],
        history=history,
        num_gradients=ball.num_gradients,
        num_hvps=ball.num_hvps,
    )
