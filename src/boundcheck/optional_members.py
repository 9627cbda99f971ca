"""What a dataset, model, method, optimizer, callback or analysis may offer beyond its contract.

Each is a protocol. The code asks by `isinstance(model, KnowsArchitecture)`, and does without where the member lacks.
The docstrings say when it is asked, and what for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from boundcheck.contracts import MomentumLaw
    from boundcheck.settings import TrainingSettings


@runtime_checkable
class KnowsSizes(Protocol):
    """A dataset that knows its shapes and counts beforehand: `validate` finds wrong settings before any download."""

    sizes: Any  # data.sizes.Sizes


@runtime_checkable
class KnowsArchitecture(Protocol):
    """A model that can be built without values: `validate` tries it on the shape of each dataset it meets.

    The network is on the meta device. A ValueError says why the model does not fit the inputs.
    """

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module: ...


@runtime_checkable
class OutsideTheory(Protocol):
    """A model that may differ from what its theorems assume: a check without bounds says this as its reason."""

    outside_theory: str | None  # in words; None: the theorems apply


@runtime_checkable
class SkipsModels(Protocol):
    """A method that makes no sense with some models: `validate` leaves out the cell and reports the reason."""

    def skips(self, model: Any) -> str | None: ...


@runtime_checkable
class RefusesCells(Protocol):
    """A method that does not fit some training settings or inputs: `validate` makes an error of the reason.

    `input_shape` is None where the dataset does not know it before it is fetched.
    """

    def refuses(self, training: TrainingSettings, normalise: str, input_shape: Sequence[int] | None) -> str | None: ...


@runtime_checkable
class HasWeightDecay(Protocol):
    """A method with a penalty of weight decay: measurements say how large it was, because their loss is without it."""

    weight_decay: float


@runtime_checkable
class HasOneActivation(Protocol):
    """A model with one nonlinearity besides normalisation and softmax: checks ask whether its Hessian is Lipschitz."""

    activation: str


@runtime_checkable
class NormalisesRows(Protocol):
    """A model whose hidden layers may use their rows as w/‖w‖: only then the laws of normalised rows are checked."""

    normalises_rows: bool


@runtime_checkable
class ConvergesByTheorem(Protocol):
    """A method with a convergence theorem: its check asks whether the theorem covers a training."""

    def converges(self, training: TrainingSettings) -> bool: ...


@runtime_checkable
class FollowsGradients(Protocol):
    """A method that knows what its steps move along: the laws of row norms ask.

    "gradient": −η times the gradient of the batch; "past gradients": minus a sum of it and earlier ones with weights
    ≥ 0 (heavy-ball momentum); None: anything else.
    """

    follows: str | None


@runtime_checkable
class FiltersGradients(Protocol):
    """A method for binary networks that is a filter of gradients: comparisons of bits and of flip ratios ask for it."""

    def as_filter(self, factors: Any) -> Any: ...


@runtime_checkable
class HasMomentumLaw(Protocol):
    """A momentum method: the theorems on its steps ask for the law, and for `weight_decay`."""

    momentum_law: MomentumLaw
    weight_decay: float


@runtime_checkable
class PassesGradientsOn(Protocol):
    """A binary model that says whether latent weights get the gradient of their bits: the flip-ratio formula asks."""

    passes_gradient_on: bool


@runtime_checkable
class HasCode(Protocol):
    """A network with a bottleneck: the analysis `reconstruction` compares it with so many principal components."""

    code_size: int | None


@runtime_checkable
class KnowsInputDims(Protocol):
    """A stackable network that knows how many axes one input has: batches that all seeds share are told from stacks."""

    num_input_dims: int


@runtime_checkable
class PerSliceRates(Protocol):
    """An optimizer whose class says `per_slice_lr = True`: asked before seeds that may restart are trained at once.

    Its `lr` may be a tensor (k,), one rate for each seed of a stack. Its state is made of tensors with that leading
    axis, and zeros in them are a fresh start.
    """

    per_slice_lr: ClassVar[bool]


@runtime_checkable
class KeepsUpdate(Protocol):
    """An optimizer that keeps its last update: callbacks that measure the curvature along a step read it."""

    update: Tensor | None  # (k, p)


@runtime_checkable
class KnowsStepSize(Protocol):
    """An optimizer that chooses its step size itself: the weight-norm recorder reads it in place of `lr`."""

    step_size: Tensor  # (k,), of the last step


@runtime_checkable
class MayRestart(Protocol):
    """A callback whose class says `restarts = True`: only such a one may return a `Restart`.

    Its cells use full batches. Their seeds train at once only if the optimizer has `PerSliceRates`. A restarted seed
    is at step 0 of `Training.steps_since_restart` again.
    """

    restarts: ClassVar[bool]


@runtime_checkable
class KeepsState(Protocol):
    """A callback that keeps something between steps: asked for at every checkpoint, and when a training resumes.

    The state is nested dicts and lists of tensors, numbers and text. Tensors come back on the CPU.
    """

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class LeavesArrays(Protocol):
    """A callback that leaves arrays for claims (`Tables.arrays`): asked for when the training has ended.

    Each has the k seeds as its leading axis. All seeds of the batch end together in `snapshots/<kind>.safetensors`;
    along further axes shorter arrays are padded with NaN, or with 0 for whole numbers.
    """

    def arrays(self) -> Mapping[str, Tensor]: ...


@runtime_checkable
class UsesSamples(Protocol):
    """An analysis of the first `samples` training examples (None: all): so large a part of the data is converted."""

    samples: int | None


@runtime_checkable
class UsesTestSamples(Protocol):
    """An analysis of the first `test_samples` test examples; without this member `samples` counts for the test too."""

    test_samples: int | None
