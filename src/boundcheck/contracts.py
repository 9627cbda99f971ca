"""The contracts: what a dataset, model, method, analysis, check and claim must offer. Read this file first.

Every kind is a frozen dataclass whose fields are its hyperparameters (so a config variant is `kind` plus fields),
found through the registry of its package and built by `boundcheck.registry.build`. `__post_init__` rejects numbers
that make no sense with a ValueError that names the field and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor, nn

NAN = float("nan")
Sense = Literal["upper", "lower", "equal"]
Decision = Literal["supported", "contradicted", "inconclusive", "vacuous", "not run"]


class Split(NamedTuple):
    """Examples of one split: `inputs` (n, *input_shape), uint8 images or floats; `labels` (n,) int64."""

    inputs: Tensor
    labels: Tensor


class Splits(NamedTuple):
    """A dataset as arrays. `mean` and `std` (channels,) are those of the training inputs scaled to [0, 1]."""

    train: Split
    test: Split
    input_shape: tuple[int, ...]
    num_classes: int
    mean: Tensor
    std: Tensor


class Dataset(Protocol):
    """Where examples come from."""

    def fetch(self, root: Path) -> None:
        """Write one checked array file into the folder `root`; the only place that may use the network."""

    def load(self, root: Path) -> Splits:
        """Read what `fetch` wrote, memory-mapped."""


class Model(Protocol):
    """An architecture."""

    stackable: ClassVar[bool]  # its forward takes parameters with a leading axis of seeds

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module: ...


class Objective(Protocol):
    """The L of L(theta): the mean over the examples, one value per seed of a stack."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, num_outputs), targets (..., n) -> (...): the mean loss of each slice."""

    def targets(self, split: Split) -> Tensor:
        """What the network is asked to give on a split: labels, or the inputs themselves."""


class Method(Protocol):
    """A way to train."""

    @property
    def num_gradients(self) -> int:
        """Gradient evaluations per step; a Hessian-vector product counts as one."""

    @property
    def second_order(self) -> bool:
        """True: the closure returns the loss with its graph and does not call backward."""

    def prepare(self, model: nn.Module) -> nn.Module:
        """Reparametrise or binarise the model; most methods return it unchanged."""

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        """A torch optimizer whose `step(closure)` may call the closure as often as it needs."""


class Training(Protocol):
    """What a callback sees of the loop: k seeds after `step` steps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    objective: Objective
    curve: Any  # callbacks.curve.Curve
    step: int
    epoch: float
    losses: Tensor  # (k,) mini-batch losses of the first pass

    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """Loss and accuracy (k,) over a whole split, in evaluation mode."""

    def gradient(self) -> Tensor:
        """Gradient (k, p) of the mini-batch loss at the parameters before the step."""


class Callback(Protocol):
    """What records a training."""

    needs_gradient: ClassVar[bool]  # `Training.gradient` is asked for after every step

    def on_step(self, training: Training) -> None: ...
    def on_epoch(self, training: Training) -> None: ...


class Row(NamedTuple):
    """One number found on a network. `coordinate`: a radius, an eigenvalue; `error`: bound on |value - true|."""

    quantity: str
    value: float
    index: int = -1  # type: ignore[assignment]
    coordinate: float = NAN
    error: float = NAN


class Analysis(Protocol):
    """What is measured on a snapshot."""

    def measure(
        self,
        model: nn.Module,
        objective: Objective,
        train: Split,
        test: Split,
        generator: torch.Generator,
        settings: Mapping[str, Any],
    ) -> list[Row]:
        """Measure one network (no stack). Inputs are normalised floats; `settings` is the cell's `training`."""


class Tables(NamedTuple):
    """What checks and claims decide from: tidy frames with the keys dataset, model, method, seed.

    `curves`, `measurements`: the tidy form (measurements with a column `analysis`); `checks`: as CheckRow;
    `runs`: one row per run with `status` (done, diverged, missing), `reason`, and dicts `method_spec`,
    `model_spec`, `dataset_spec`, `training`; `skipped`: cells that make no sense, with the reason.
    """

    curves: pd.DataFrame
    measurements: pd.DataFrame
    checks: pd.DataFrame
    runs: pd.DataFrame
    skipped: pd.DataFrame


class Check(Protocol):
    """One theorem, checked wherever the tables hold what it needs."""

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Keys, step, and: theorem, sense, bound, measured, tolerance, premise_holds, holds, tightness."""


@dataclass(frozen=True)
class Figure:
    """One panel row of the report. `data` is tidy: x, y, low, high, series, role (measured | bound), panel."""

    data: pd.DataFrame
    mark: Literal["line", "points", "interval", "heatmap"]
    x_label: str
    y_label: str
    caption: str
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the curves say of a claim. `effect` with its 95% interval is in `unit`; `num_runs` is its n."""

    decision: Decision
    reason: str
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    unit: str = ""
    num_runs: int = 0
    num_runs_needed: int | None = None  # at which n an inconclusive interval would exclude 0
    tightness: float = NAN
    paper_value: str = "not available"  # only where the theory file marks a figure SOURCED
    cells: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the evidence, a row per (dataset, model)
    figures: Sequence[Figure] = ()


class Claim(Protocol):
    """A statement of a paper, with its reference."""

    statement: str
    reference: str

    def decide(self, tables: Tables) -> Verdict: ...


LossFunction = Callable[["Tensor"], "Tensor"]  # theta (p,) -> L(theta) (), differentiable
