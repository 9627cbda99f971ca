"""The local curvature along the steps of a training, and a certificate for the step size that uses it."""

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
    """Records the curvature along a step: at each of the first `window` steps, then at every `every`-th step.

    `local_curvature`: an upper estimate of λ_max(∇²E) on the segment of the step (at its start, middle and end, plus
    the Lanczos residual). `sharpness`: λ_max before the step. `lowest_curvature`: the smallest Ritz value, which is at
    least λ_min. E includes the penalty of weight decay.

    Args:
        every: steps between measurements after the window; 0: no more measurements.
        window: number of first steps that are all measured.
        num_products: Hessian-vector products at each of the three points.
    """

    every: CountOrZero = 25
    window: CountOrZero = 20
    num_products: Annotated[int, Ge(2)] = 12

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "local_curvature sharpness lowest_curvature"
    _vectors: Tensor | None = field(init=False, default=None, repr=False)
    _seen: Tensor | None = field(init=False, default=None, repr=False)  # the seeds' steps at the last call of `is_due`

    def on_step(self, training: Training) -> Restart | None:
        """Measure and record if a seed is due."""
        if self.is_due(training.steps_since_restart):
            self.record(training)
        return None

    def on_epoch(self, training: Training) -> None:
        """Do nothing."""

    def is_due(self, steps: Tensor) -> bool:
        """Whether any seed must be measured at this step.

        Args:
            steps: the steps of each seed since its last start. A seed whose count has not changed is finished.
        """
        due = steps < self.window
        if self.every:
            due = due | (steps % self.every == 0)
        moves = torch.ones_like(due) if self._seen is None else (steps != self._seen) | (steps == 0)
        self._seen = steps.clone()
        return bool((due & moves).any())

    def record(self, training: Training) -> SegmentCurvature:
        """Measure all seeds at once."""
        measured = measure_segment(training, self.num_products, self._vectors)
        # a seed that diverged has no finite vector to start from next time
        self._vectors = torch.where(measured.vectors.isfinite(), measured.vectors, 1.0)
        for name, values in (
            ("local_curvature", measured.largest),
            ("sharpness", measured.at_start),
            ("lowest_curvature", measured.smallest),
        ):
            training.curve.record(name, training.step, training.epoch, values)
        return measured

    def state_dict(self) -> dict[str, Any]:
        """The start vectors of the next measurement."""
        state = {"vectors": self._vectors, "seen": self._seen}
        return {name: value for name, value in state.items() if value is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._vectors, self._seen = state.get("vectors"), state.get("seen")


@settings(frozen=False)
class Certificate(CurvatureRecorder):
    """Chooses the step size from a theorem for an assumed curvature L̂. A seed whose curvature exceeds L̂ starts again.

    At first, L̂ is `margin` times the sharpness at the start, and all seeds start again with `fraction` of the theorem's
    limit. Whenever the curvature on a step exceeds L̂, L̂ becomes `growth` times that curvature, and the seed starts
    again. So in the final run the premise of the theorem held at every measured step: a sampled certificate. With
    `a_priori`, L̂ is an explicit bound on the ball in which weight decay keeps the weights. Then nothing needs to be
    measured, and L̂ does not change. Also records `assumed_curvature`, L̂. The learning rate of the method's config is
    used for one step only, before the first restart.

    Args:
        rule: the limit on the step size: `sharp`, 2/(L(1 + s)); `paper`, 2(1 − s)/(L(1 + s)²); `heavy_ball`,
            2(1 − β)/L; `inverse`, 1/L; `a_priori`, as `sharp`, with the L of `theory.dag_momentum.certificate`.
        fraction: the step size as a share of the limit.
        margin: the first L̂, divided by the sharpness at the start.
        growth: a new L̂, divided by the curvature that exceeded the old one.
    """

    rule: Rule = "sharp"
    fraction: ShareAboveZero = 0.95
    margin: OneOrMore = 1.3
    growth: OneOrMore = 1.25

    restarts: ClassVar[bool] = True
    quantities: ClassVar[str] = f"{CurvatureRecorder.quantities} assumed_curvature restart"
    _assumed: Tensor | None = field(init=False, default=None, repr=False)

    def on_step(self, training: Training) -> Restart | None:
        """Measure if a seed is due, and request a restart of the seeds whose curvature exceeded L̂."""
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
        """The start vectors of the next measurement, and L̂."""
        return super().state_dict() | ({} if self._assumed is None else {"assumed": self._assumed})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
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
