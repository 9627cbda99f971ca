"""The ball around θ for flatness: values at its points, an ascent in it, and the steepest point of a segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from boundcheck.contracts import LossFunction
from boundcheck.curvature.hessian import HessianOperator, loss_and_gradient

Evaluated = tuple[float, Callable[[], Tensor]]  # a value at a point, and what computes its gradient (p,) there


@dataclass
class Best:
    """The largest value so far, the point δ (p,) of this value, and ∇L(θ+δ) (p,)."""

    value: float
    delta: Tensor
    gradient: Tensor

    def offer(self, value: float, delta: Tensor, gradient: Tensor) -> None:
        """Keep the value at δ (p,) if it is larger than the largest so far."""
        if value > self.value:
            self.value, self.delta, self.gradient = value, delta, gradient


@dataclass
class Ball:
    """L on the ball of radius ρ around θ. It counts evaluations and keeps the highest and the steepest point."""

    losses: LossFunction | Sequence[LossFunction]
    theta: Tensor
    rho: float
    tolerance: float
    least_rise: float
    retain: bool
    num_gradients: int = 1
    num_hvps: int = 0
    centre: HessianOperator = field(init=False)
    highest: Best = field(init=False)
    steepest: Best = field(init=False)

    def __post_init__(self) -> None:
        self.centre = HessianOperator(self.losses, self.theta, self.retain)
        zero, gradient = torch.zeros_like(self.theta), self.centre.gradient
        self.highest, self.steepest = Best(0.0, zero, gradient), Best(norm(gradient), zero, gradient)

    def height(self, delta: Tensor) -> Evaluated:
        """L(θ+δ) − L(θ), and what computes its gradient (p,) in δ."""
        if not delta.any():
            return 0.0, lambda: self.centre.gradient
        loss, gradient = loss_and_gradient(self.losses, self.theta + delta)
        self.num_gradients += 1
        gain = (loss - self.centre.loss).item()
        self.highest.offer(gain, delta, gradient)
        self.steepest.offer(norm(gradient), delta, gradient)
        return gain, lambda: gradient

    def steepness(self, delta: Tensor) -> Evaluated:
        """n = ‖∇L(θ+δ)‖, and what computes ∇n = Hg/‖g‖ (p,), by a double backward."""
        operator = HessianOperator(self.losses, self.theta + delta, self.retain) if delta.any() else self.centre
        length = norm(operator.gradient)
        self.num_gradients += operator is not self.centre
        self.steepest.offer(length, delta, operator.gradient)

        def gradient() -> Tensor:
            """∇n = Hg/‖g‖ (p,); 0 where g = 0."""
            if length == 0:
                return torch.zeros_like(delta)
            self.num_hvps += 1
            return operator.matvec(operator.gradient / length)

        return length, gradient

    def farthest(self, direction: Tensor) -> Tensor:
        """The point ρ·direction/‖direction‖ of the ball; its centre where there is no direction."""
        length = norm(direction)
        return direction * (self.rho / length) if 0 < length < float("inf") else torch.zeros_like(direction)


def largest(values: Mapping[str, float], number: int | None) -> list[str]:
    """The names of that many of the values, the largest first; without a number all."""
    return sorted(values, key=lambda name: -math.inf if math.isnan(values[name]) else values[name])[::-1][:number]


def norm(vector: Tensor) -> float:
    """‖vector‖ of a vector (p,), summed in float64."""
    return torch.linalg.vector_norm(vector, dtype=torch.float64).item()


def ascend(
    ball: Ball,
    function: Callable[[Tensor], Evaluated],
    delta: Tensor,
    iterations: int,
    start: Evaluated | None = None,
) -> list[float]:
    """The values along δ ← ρ∇/‖∇‖ from one start, going back half way after each step that does not rise.

    Args:
        ball: where.
        function: what is to rise: its value at a point, and what computes its gradient there.
        delta: the start.
        iterations: steps at most.
        start: what the function gives at the start, where that is known.
    """
    value, gradient = start or function(delta)
    values = [value]
    target = ball.farthest(gradient())
    while len(values) <= iterations and norm(target - delta) > ball.tolerance * ball.rho:
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


def shortfall(best: float, ascents: Sequence[Sequence[float]], gradient: Tensor, delta: Tensor, radius: float) -> float:
    """An estimate of how far the best value found lies below the maximum on the ball: no bound on it.

    The sum of two parts. What the best ascent may still gain: ρ‖∇f‖ − ∇f·δ, the most that the linear model at δ gains
    on the ball, which bounds the rest of the way where f is concave along it. And what other starts might have found:
    (best − least)/(n − 1) over the n ascents, which is how far the end of an interval lies above the largest of n
    numbers drawn evenly from it, judged by their spread.

    Args:
        best: the largest value.
        ascents: the values along each ascent that was followed.
        gradient: ∇f (p,) at the best point.
        delta: this point, δ (p,).
        radius: ρ of the ball.

    Returns: the estimate, in units of the values; NaN from fewer than two ascents, which say nothing of other starts.

    References: Frank, Wolfe 1956; Jaggi 2013, Revisiting Frank-Wolfe (the gap).
    """
    if len(ascents) < 2:
        return math.nan
    rest = radius * norm(gradient) - torch.dot(gradient, delta).item()
    return max(rest, 0.0) + (best - min(map(max, ascents))) / (len(ascents) - 1)


def steepest_on_segment(ball: Ball, gain: float, summit: Tensor, num_points: int) -> Best:
    """The largest gradient norm found on the segment from 0 to the maximiser of R⁰, and where."""
    best = Best(-1.0, summit, ball.highest.gradient)

    def evaluate(t: float) -> float:
        height, gradient = ball.height(t * summit)
        best.offer(norm(gradient()), t * summit, gradient())
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
