"""The local curvature along the steps of a training, and the loop that certifies a step size with it."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from boundcheck.callbacks.a_priori import curvature_on_the_ball
from boundcheck.callbacks.segment import SegmentCurvature, measure_segment
from boundcheck.contracts import Restart, Training
from boundcheck.settings import CountOrZero, Ge, ShareAboveZero, settings
from boundcheck.theory.dag_momentum.baselines import heavy_ball_step_limit
from boundcheck.theory.dag_momentum.step import paper_step_limit, step_limit

Rule = Literal["sharp", "paper", "heavy_ball", "inverse", "a_priori"]
OneOrMore = Annotated[float, Ge(1)]


@settings(frozen=False)
class CurvatureRecorder:
    """Records the curvature along the step at every step of a first window, then at every `every`-th step.

    `local_curvature`, an estimate from above of λ_max(∇²E) on the segment of the step (start, middle and end, with the
    Lanczos residual); `sharpness`, λ_max before the step; `lowest_curvature`, the smallest Ritz value, which is above
    λ_min. The penalty of weight decay is part of E.

    Args:
        every: steps between measurements after the window; 0: none.
        window: so many first steps are all measured.
        num_products: Hessian-vector products at each of the three places.
    """

    every: CountOrZero = 25
    window: CountOrZero = 20
    num_products: Annotated[int, Ge(2)] = 12

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "local_curvature sharpness lowest_curvature"
    _vectors: Tensor | None = field(init=False, default=None, repr=False)
    _seen: Tensor | None = field(init=False, default=None, repr=False)  # the seeds' steps when last asked

    def on_step(self, training: Training) -> Restart | None:
        """Measure and record where a seed is due."""
        if self.is_due(training.steps_since_restart):
            self.record(training)
        return None

    def on_epoch(self, training: Training) -> None:
        """Nothing."""

    def is_due(self, steps: Tensor) -> bool:
        """Whether any seed, so many steps after its last start, is to be measured; one that stands still is not."""
        due = steps < self.window
        if self.every:
            due = due | (steps % self.every == 0)
        moves = torch.ones_like(due) if self._seen is None else (steps != self._seen) | (steps == 0)
        self._seen = steps.clone()
        return bool((due & moves).any())

    def record(self, training: Training) -> SegmentCurvature:
        """Measure all seeds at once."""
        measured = measure_segment(training, self.num_products, self._vectors)
        # a seed that diverged has no direction to start from next time
        self._vectors = torch.where(measured.vectors.isfinite(), measured.vectors, 1.0)
        for name, values in (
            ("local_curvature", measured.largest),
            ("sharpness", measured.at_start),
            ("lowest_curvature", measured.smallest),
        ):
            training.curve.record(name, training.step, training.epoch, values)
        return measured

    def state_dict(self) -> dict[str, Any]:
        """Where the next measurement starts."""
        state = {"vectors": self._vectors, "seen": self._seen}
        return {name: value for name, value in state.items() if value is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self._vectors, self._seen = state.get("vectors"), state.get("seen")


@settings(frozen=False)
class Certificate(CurvatureRecorder):
    """Chooses the step size by a theorem and holds it to its premise: a seed whose curvature exceeds L̂ starts again.

    At first L̂ is `margin` times the sharpness at the start and the seeds start again with `fraction` of the theorem's
    limit; whenever the curvature on a step exceeds L̂, L̂ ← `growth` · max(L̂, it), and that seed starts again. What comes
    out is a run whose premise was seen to hold at every measured step: a sampled certificate. With `a_priori` L̂ is the
    explicit bound on the ball that weight decay keeps the weights in: nothing is left to measure, and L̂ stays. Records
    also `assumed_curvature`, L̂. The learning rate of the method's config is used for one step, before the first start.

    Args:
        rule: the limit: `sharp`, 2/(L(1 + s)); `paper`, 2(1 − s)/(L(1 + s)²); `heavy_ball`, 2(1 − β)/L; `inverse`, 1/L;
            `a_priori`, `sharp` with the L that `theory.dag_momentum.certificate` knows before the first step.
        fraction: of it.
        margin: of the first L̂ over the sharpness at the start.
        growth: of L̂ over what exceeded it.
    """

    rule: Rule = "sharp"
    fraction: ShareAboveZero = 0.95
    margin: OneOrMore = 1.3
    growth: OneOrMore = 1.25

    restarts: ClassVar[bool] = True
    quantities: ClassVar[str] = f"{CurvatureRecorder.quantities} assumed_curvature restart"
    _assumed: Tensor | None = field(init=False, default=None, repr=False)

    def on_step(self, training: Training) -> Restart | None:
        """Measure where a seed is due, and ask for a new start where the premise failed."""
        if not self.is_due(training.steps_since_restart):
            return None
        measured = self.record(training)
        if self._assumed is None:
            self._assumed = self._first_curvature(training, measured)
            return self._restart(training, torch.ones_like(self._assumed, dtype=torch.bool), "the first step size")
        training.curve.record("assumed_curvature", training.step, training.epoch, self._assumed)
        exceeded = measured.largest > self._assumed
        if self.rule == "a_priori" or not bool(exceeded.any()):
            return None
        self._assumed = torch.where(exceeded, self.growth * measured.largest, self._assumed)
        return self._restart(training, exceeded, "the curvature exceeded what the step size was chosen for")

    def state_dict(self) -> dict[str, Any]:
        """Where the next measurement starts, and L̂."""
        return super().state_dict() | ({} if self._assumed is None else {"assumed": self._assumed})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        super().load_state_dict(state)
        self._assumed = state.get("assumed")

    def _first_curvature(self, training: Training, measured: SegmentCurvature) -> Tensor:
        if self.rule == "a_priori":
            return curvature_on_the_ball(training).to(measured.at_start)
        return self.margin * measured.at_start.clamp_min(torch.finfo(measured.at_start.dtype).eps)

    def _restart(self, training: Training, where: Tensor, reason: str) -> Restart:
        group = training.optimizer.param_groups[0]
        limit = self._limit(self._assumed, float(group.get("s", 0.0)), float(group.get("momentum", 0.0)))
        return Restart(torch.where(where, self.fraction * limit, torch.nan), reason)

    def _limit(self, assumed: Any, s: float, momentum: float) -> Tensor:
        curvature = assumed.double().cpu().numpy()
        limits = {
            "sharp": lambda: step_limit(curvature, s),
            "paper": lambda: paper_step_limit(curvature, s),
            "heavy_ball": lambda: heavy_ball_step_limit(curvature, momentum),
            "inverse": lambda: 1 / curvature,
            "a_priori": lambda: step_limit(curvature, s),
        }
        return torch.as_tensor(limits[self.rule]()).to(assumed)
