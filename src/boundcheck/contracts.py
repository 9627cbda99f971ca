"""The contracts: what a dataset, model, objective, method, callback and analysis must offer. Read this file first.

A kind is a frozen dataclass, its fields the hyperparameters, found through the registry of its package (registry.py);
`__post_init__` rejects a number by a ValueError with the field, the value and what is allowed. Claims: verdicts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn, optim

NAN = float("nan")
LossFunction = Callable[["Tensor"], "Tensor"]  # theta (p,) -> L(theta) (), differentiable


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
    """Where examples come from. Only `fetch` may use the network; a field `path` is the folder that it reads.

    `fetch` writes `<root>/arrays.safetensors` by `write_arrays` of data/arrays.py (by `new_arrays`, where the examples
    do not fit into memory); `load` returns `read_arrays(root)`. Optional: `sizes`, a `Sizes` of data/sizes.py with what
    is known beforehand, so that a mistake in a config is found before anything is fetched.
    """

    def fetch(self, root: Path) -> None: ...
    def load(self, root: Path) -> Splits: ...


class Model(Protocol):
    """An architecture. `stackable`: its forward takes parameters with a leading axis of seeds.

    Optional: `activation`, the name of its only nonlinearity besides normalisation and softmax; `outside_theory`, why
    the theorems on weight normalisation do not cover it, or None; `normalises_rows`, whether its hidden layers use
    their rows as w/‖w‖.
    Kinds of binary networks are a `BinaryModel` (models/binary_model.py), which theory asks about the latent weights.
    """

    stackable: ClassVar[bool]

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: Generator) -> nn.Module: ...


class Objective(Protocol):
    """The L of L(theta): the mean over the examples, one value per seed of a stack."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor: ...  # (..., n, num_outputs), (..., n) -> (...)
    def targets(self, split: Split) -> Tensor: ...  # what the network is asked to give: labels, or the inputs


class MomentumLaw(NamedTuple):
    """How much of the last step a momentum method carries on: Δ_{k+1} = −η g_k + τ_k Δ_k."""

    rule: Literal["adaptive", "heavy_ball", "nesterov"]  # τ_k = s η ‖g_k‖/‖Δ_k‖; τ_k = β; β, Nesterov's form
    number: float  # s of `adaptive`, else β


class Method(Protocol):
    """A way to train. The optimizer is torch's kind; `step(closure)` may call the closure as often as it needs.

    Optional: `converges(training)`, whether GAM's convergence theorem covers a training with these settings;
    `follows`, what a step moves along: "gradient", −η times the batch's; "past gradients", minus a sum of it and
    earlier ones with weights ≥ 0 (heavy-ball momentum); None, anything else; `as_filter(factors)` of methods for
    binary networks, the filter of gradients that decides the bits; `momentum_law`, a `MomentumLaw`, of methods that
    the theorems on steps of momentum are about, with `weight_decay`.
    """

    num_gradients: int  # gradient evaluations per step; a Hessian-vector product counts as one
    second_order: bool  # True: the closure returns the loss with its graph and does not call backward

    def prepare(self, model: nn.Module) -> nn.Module: ...  # reparametrised or binarised; mostly unchanged
    # Where the optimizer's class says `per_slice_lr = True`, its `lr` may be a tensor (k,), one rate per seed of a
    # stack, and its state is tensors with that leading axis, for which zeros are a fresh start.
    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> optim.Optimizer: ...


class Training(Protocol):
    """What a callback sees of the loop: k seeds. In `on_step`, `step` counts the steps before this one."""

    model: nn.Module
    optimizer: optim.Optimizer
    objective: Objective
    curve: Any  # callbacks.curve.Curve
    step: int
    epoch: float
    steps_since_restart: Tensor  # (k,) int64, the seed's own count
    losses: Tensor  # (k,) mini-batch losses of the first pass
    batch: tuple[Tensor, Tensor]  # what `losses` are of: the network's inputs, and the targets

    def gradient(self) -> Tensor: ...  # (k, p), of the mini-batch loss at the parameters before the step
    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]: ...  # loss and accuracy (k,) over it


class Restart(NamedTuple):
    """Seeds go back to their start, with the learning rates `lr` (k,) from now on; NaN where a seed goes on."""

    lr: Tensor
    reason: str


class Callback(Protocol):
    """What records a training. `callbacks/__init__.py` says what may come besides: a state, arrays, restarts."""

    needs_gradient: ClassVar[bool]  # `Training.gradient` is asked for after every step
    quantities: ClassVar[str]  # what the curves get from it: names, blanks between them; `*` is any text

    def on_step(self, training: Training) -> Restart | None: ...
    def on_epoch(self, training: Training) -> None: ...


class Row(NamedTuple):
    """One number found on a network. `coordinate`: a radius, an eigenvalue; `error`: bound on |value - true|."""

    quantity: str
    value: float
    index: int = -1  # type: ignore[assignment]
    coordinate: float = NAN
    error: float = NAN


class Analysis(Protocol):
    """What is measured on one network of a snapshot. Inputs are normalised; `settings` is the cell's `training`."""

    quantities: ClassVar[str]  # of its rows, as a callback's

    def measure(
        self, model: nn.Module, objective: Objective, train: Split, test: Split, generator: Generator, settings: Mapping
    ) -> list[Row]: ...
