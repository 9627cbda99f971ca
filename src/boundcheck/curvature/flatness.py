"""Zeroth- and first-order flatness: how far the loss, and its gradient norm, rise within a ball around θ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from boundcheck.contracts import LossFunction
from boundcheck.curvature.hessian import HessianOperator, loss_and_gradient
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
    ball = _Ball(losses, theta, rho, tolerance, least_rise, retain)
    points = {"centre": torch.zeros_like(theta)}
    if top_eigenvector is not None:
        pole = rho * top_eigenvector / torch.linalg.vector_norm(top_eigenvector)
        points |= {"plus_top": pole, "minus_top": -pole}
    points |= {f"random_{i}": rho * random_direction(ball.centre, generator) for i in range(starts)}
    points |= {f"candidate_{i}": candidate for i, candidate in enumerate(candidates)}

    found = {name: ball.height(point) for name, point in points.items()}
    for name in _largest({name: gain for name, (gain, _) in found.items()}, ascents):
        _ascend(ball, ball.height, points[name], iterations, found[name])
    gain, summit = ball.highest.value, ball.highest.delta
    norms = {name: _norm(gradient()) for name, (_, gradient) in found.items()}
    if gain > 0:
        steepest = _steepest_on_segment(ball, gain, summit, segment)
        if ascents is None and not torch.equal(steepest.delta, summit):
            points["summit"] = summit
        points["segment"], norms["segment"] = steepest.delta, steepest.value
    history = {
        name: _ascend(ball, ball.steepness, points[name], iterations)
        for name in (points if ascents is None else _largest(norms, ascents))
    }
    if "centre" not in history:
        history["centre"] = _ascend(ball, ball.steepness, points["centre"], iterations=1)
    return FlatnessResult(
        rho=rho,
        loss=ball.centre.loss.item(),
        gradient_norm=history["centre"][0],
        zeroth=gain,
        zeroth_maximiser=summit,
        first=rho * ball.steepest.value,
        maximiser=ball.steepest.delta,
        one_step_first=rho * history["centre"][min(1, len(history["centre"]) - 1)],
        history=history,
        num_gradients=ball.num_gradients,
        num_hvps=ball.num_hvps,
    )


@dataclass
class _Best:
    """The largest value seen, and where."""

    value: float
    delta: Tensor

    def offer(self, value: float, delta: Tensor) -> None:
        if value > self.value:
            self.value, self.delta = value, delta


@dataclass
class _Ball:
    """L on the ball of radius ρ around θ: evaluates, counts, and remembers the highest and the steepest point."""

    losses: LossFunction | Sequence[LossFunction]
    theta: Tensor
    rho: float
    tolerance: float
    least_rise: float
    retain: bool
    num_gradients: int = 1
    num_hvps: int = 0
    centre: HessianOperator = field(init=False)
    highest: _Best = field(init=False)
    steepest: _Best = field(init=False)

    def __post_init__(self) -> None:
        self.centre = HessianOperator(self.losses, self.theta, self.retain)
        self.highest = _Best(0.0, torch.zeros_like(self.theta))
        self.steepest = _Best(_norm(self.centre.gradient), torch.zeros_like(self.theta))

    def height(self, delta: Tensor) -> tuple[float, Callable[[], Tensor]]:
        """L(θ+δ) − L(θ), and what computes its gradient (p,) in δ."""
        if not delta.any():
            return 0.0, lambda: self.centre.gradient
        loss, gradient = loss_and_gradient(self.losses, self.theta + delta)
        self.num_gradients += 1
        gain = (loss - self.centre.loss).item()
        self.highest.offer(gain, delta)
        self.steepest.offer(_norm(gradient), delta)
        return gain, lambda: gradient

    def steepness(self, delta: Tensor) -> tuple[float, Callable[[], Tensor]]:
        """n = ‖∇L(θ+δ)‖, and what computes ∇n = Hg/‖g‖ (p,), by a double backward."""
        operator = HessianOperator(self.losses, self.theta + delta, self.retain) if delta.any() else self.centre
        norm = _norm(operator.gradient)
        self.num_gradients += operator is not self.centre
        self.steepest.offer(norm, delta)

        def gradient() -> Tensor:
            if norm == 0:
                return torch.zeros_like(delta)
            self.num_hvps += 1
            return operator.matvec(operator.gradient / norm)

        return norm, gradient

    def farthest(self, direction: Tensor) -> Tensor:
        """The point ρ·direction/‖direction‖ of the ball; its centre where there is no direction."""
        norm = _norm(direction)
        return direction * (self.rho / norm) if 0 < norm < float("inf") else torch.zeros_like(direction)


def _largest(values: Mapping[str, float], number: int | None) -> list[str]:
    """The names of that many of the values, the largest first; without a number all."""
    return sorted(values, key=lambda name: -math.inf if math.isnan(values[name]) else values[name])[::-1][:number]


def _norm(vector: Tensor) -> float:
    return torch.linalg.vector_norm(vector, dtype=torch.float64).item()


def _ascend(
    ball: _Ball,
    function: Callable[[Tensor], tuple[float, Callable[[], Tensor]]],
    delta: Tensor,
    iterations: int,
    found: tuple[float, Callable[[], Tensor]] | None = None,
) -> list[float]:
    """The values along δ ← ρ∇/‖∇‖ from one start, going back half way after each step that does not rise.

    Args:
        ball: where.
        function: what is to rise: its value at a point, and what computes its gradient there.
        delta: the start.
        iterations: steps at most.
        found: what the function gives at the start, where that is known.
    """
    value, gradient = found or function(delta)
    values = [value]
    target = ball.farthest(gradient())
    while len(values) <= iterations and _norm(target - delta) > ball.tolerance * ball.rho:
        reached, gradient = function(target)
        values.append(reached)
        if reached <= value:
            target = (delta + target) / 2
            continue
        has_settled = reached - value <= ball.least_rise * reached
        delta, value = target, reached
        if has_settled:
            break
        target = ball.farthest(gradient())
    return values


def _steepest_on_segment(ball: _Ball, gain: float, summit: Tensor, num_points: int) -> _Best:
    """The largest gradient norm found on the segment from 0 to the maximiser of R⁰, and where."""
    best = _Best(-1.0, summit)

    def evaluate(t: float) -> float:
        height, gradient = ball.height(t * summit)
        best.offer(_norm(gradient()), t * summit)
        return height

    times = [i / num_points for i in range(num_points + 1)]
    heights = [0.0, *(evaluate(t) for t in times[1:])]
    left = max(range(num_points), key=lambda i: heights[i + 1] - heights[i])
    a, b, low, high = times[left], times[left + 1], heights[left], heights[left + 1]
    while ball.rho * ball.steepest.value < gain and b - a > 1e-6:
        middle = (a + b) / 2
        height = evaluate(middle)
        if height - low >= high - height:
            b, high = middle, height
        else:
            a, low = middle, height
    return best
