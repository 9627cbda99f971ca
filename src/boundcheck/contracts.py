"""The contracts: what a dataset, model, objective, method, callback and analysis must offer. Read this file first.

A kind is a frozen dataclass. Its fields are its settings, and the registry of its package finds it (registry.py). A
setting that makes no sense raises a ValueError with the field, the value and what is allowed. Members that a kind
may have or not are in optional_members.py. Claims: verdicts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn, optim

    from boundcheck.settings import TrainingSettings

NAN = float("nan")
LossFunction = Callable[["Tensor"], "Tensor"]  # theta (p,) -> L(theta) (), differentiable


class Split(NamedTuple):
    """Examples of one split: `inputs` (n, *input_shape), uint8 images or floats; `labels` (n,) int64."""

    inputs: Tensor
    labels: Tensor

    def first(self, size: int | None) -> Split:
        """The first `size` examples; None: all."""
        return Split(self.inputs[:size], self.labels[:size])


class Splits(NamedTuple):
    """A dataset as arrays. `mean` and `std` (channels,) are those of the training inputs scaled to [0, 1].

    `class_names` has the names in the order of the labels, or is empty.
    """

    train: Split
    test: Split
    input_shape: tuple[int, ...]
    num_classes: int
    mean: Tensor
    std: Tensor
    class_names: tuple[str, ...] = ()


class Dataset(Protocol):
    """Where examples come from. Only `fetch` may use the network.

    If there is a field `path`, it is the folder or archive that `fetch` reads; files added, removed or renamed there
    make it run again.

    `fetch` writes `<root>/arrays.safetensors` by `write_arrays` of data/arrays.py (by `new_arrays`, where the examples
    do not fit into memory); `load` returns `read_arrays(root)`.
    """

    def fetch(self, root: Path) -> Mapping[str, Any] | None: ...
    def load(self, root: Path) -> Splits: ...


class Model(Protocol):
    """An architecture."""

    stackable: ClassVar[bool]  # True: the forward pass takes parameters with a leading axis of seeds

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: Generator) -> nn.Module: ...


class Objective(Protocol):
    """The loss that is minimised: the mean over the examples, one value for each seed of a stack."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor: ...  # (..., n, num_outputs), (..., n) -> (...)
    def targets(self, split: Split) -> Tensor: ...  # what the network is asked to give: labels, or the inputs


class MomentumLaw(NamedTuple):
    """How much of the last step a momentum method carries on: Δ_{k+1} = −η g_k + τ_k Δ_k."""

    rule: Literal["adaptive", "heavy_ball", "nesterov"]  # τ_k = s η ‖g_k‖/‖Δ_k‖; τ_k = β; β, Nesterov's form
    number: float  # s of `adaptive`, else β


class Method(Protocol):
    """A way to train. Its optimizer is a `torch.optim.Optimizer`; its `step(closure)` calls the closure once or more.

    The closure clears the gradients, computes the loss, calls backward and returns the loss. The learning rate of a
    step is `lr` of the parameter groups, which the training sets before each step.
    """

    num_gradients: int  # gradient evaluations per step; a Hessian-vector product counts as one
    second_order: bool  # True: the closure returns the loss with its graph and does not call backward

    def prepare(self, model: nn.Module) -> nn.Module: ...  # reparametrised or binarised; mostly unchanged
    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> optim.Optimizer: ...


class Training(Protocol):
    """What a callback sees of the training of k seeds. In `on_step`, `step` counts the steps before this one."""

    model: nn.Module
    optimizer: optim.Optimizer
    objective: Objective
    curve: Any  # callbacks.curve.Curve
    step: int
    epoch: float
    steps_since_restart: Tensor  # (k,) int64, the seed's own count
    losses: Tensor  # (k,) mini-batch losses of the first pass
    batch: tuple[Tensor, Tensor]  # the inputs and targets of that mini-batch, as the network gets them

    def gradient(self) -> Tensor: ...  # (k, p), of the mini-batch loss at the parameters before the step
    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]: ...  # loss and accuracy (k,) over it


class Restart(NamedTuple):
    """Seeds start again from their first weights with the learning rates `lr` (k,). NaN: that seed goes on."""

    lr: Tensor
    reason: str


class Callback(Protocol):
    """What records a training. A callback with a state is a dataclass that is not frozen: see optional_members.py."""

    needs_gradient: ClassVar[bool]  # True: it calls `Training.gradient` after every step
    quantities: ClassVar[str]  # the names of what it records, separated by blanks; `*` stands for any text

    def on_step(self, training: Training) -> Restart | None: ...
    def on_epoch(self, training: Training) -> None: ...


class Row(NamedTuple):
    """One number measured on a network. `coordinate`: a radius, an eigenvalue; `error`: bound on |value - true|.

    Where the docstring of an analysis says so, `error` is an estimate and no bound.
    """

    quantity: str
    value: float
    index: int = -1  # type: ignore[assignment]
    coordinate: float = NAN
    error: float = NAN


class Snapshot(NamedTuple):
    """What an analysis measures: the network of one seed after an epoch, its objective, and its examples.

    The inputs are normalised. `generator` is the only source of random numbers. `training` are the settings of the
    training that the network comes from.
    """

    model: nn.Module
    objective: Objective
    train: Split
    test: Split
    generator: Generator
    training: TrainingSettings


class Analysis(Protocol):
    """What is measured on one snapshot."""

    quantities: ClassVar[str]  # the names of its rows, as a callback's

    def measure(self, snapshot: Snapshot) -> list[Row]: ...
