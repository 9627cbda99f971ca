"""Common code of the methods for binary networks: an optimizer made of one for binary and one for real parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods import METHODS
from boundcheck.models.binary_layers import binary_layers, binary_parameters, real_parameters, sign
from boundcheck.registry import build_part
from boundcheck.settings import among
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import FilterMap, StateSpaceMap

if TYPE_CHECKING:
    from boundcheck.methods.adamw import AdamWMethod
    from boundcheck.methods.sgd import SGDMethod

REAL = {kind: METHODS[kind] for kind in ("sgd", "adamw")}
RealVariant = Annotated[Mapping[str, Any], among("methods", *REAL)]


def set_to_signs(parameter: Tensor) -> None:
    """Replace the values by their signs; 0 becomes +1, as in the binary layers."""
    parameter.copy_(sign(parameter))


def flip(bits: Sequence[Tensor], inertias: Sequence[Tensor], threshold: float = 0.0) -> None:
    """b ← −b where I b > τ. A bit whose inertia is 0 does not flip.

    Computed as b − 2 b max(sign(I b − τ), 0), which is faster than a comparison.
    """
    wrong = torch._foreach_mul(list(inertias), list(bits))
    if threshold:
        torch._foreach_sub_(wrong, threshold)
    torch._foreach_sign_(wrong)
    torch._foreach_clamp_min_(wrong, 0.0)
    torch._foreach_addcmul_(list(bits), list(bits), wrong, -2.0)


class BinaryTraining(Optimizer):
    """Several optimizers of different parameters as one. All use one backward pass and are in one state_dict.

    Args:
        parts: the optimizers; that of the binary parameters first.
        clipped: parameters that are clamped to [−1, 1] after each step.
        method: the method that built it.
    """

    def __init__(
        self, parts: Sequence[Optimizer], clipped: Sequence[Tensor] = (), method: BinaryMethod | None = None
    ) -> None:
        self.parts, self.clipped, self.method = list(parts), list(clipped), method
        super().__init__([group for part in parts for group in part.param_groups], {})
        for part in parts:
            self.state.update(part.state)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each optimizer; returns the closure's result."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        if self.clipped:
            torch._foreach_clamp_min_(self.clipped, -1.0)
            torch._foreach_clamp_max_(self.clipped, 1.0)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore all optimizers."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end


class BinaryMethod(ABC):
    """A method for binary networks as a config variant: a dataclass with the fields `real` and `init_scale`.

    The initial latent weights are multiplied by `init_scale`. It is a setting of the method, so that two methods can
    start from the same weights with different magnitudes. `real` trains the real parameters, and also networks without
    binary layers.
    """

    real: Mapping[str, Any]
    init_scale: float
    clip: bool = False
    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.real_method()
        self.binary_optimizer([nn.Parameter(torch.ones(1))])

    def skips(self, model: Any) -> str | None:
        """Why the method makes no sense with a model; None if it does."""
        return None if hasattr(model, "weight_gradient") else "the model has no binary layers"

    @torch.no_grad()
    def prepare(self, model: nn.Module) -> nn.Module:
        """The model with rescaled initial latent weights."""
        for layer in binary_layers(model):
            layer.weight.mul_(self.init_scale)
        return model

    def as_filter(self, factors: FloatArray) -> FilterMap | StateSpaceMap | None:
        """The gradient filter whose signs are the bits of this method; None if there is no such filter.

        There is none for Adam, clipped latent weights, a threshold, approximate mappings, and weight decay 0 (a sum
        of gradients that never forgets).

        Args:
            factors: the factors of the learning-rate schedule, (T,).
        """
        return None

    @abstractmethod
    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """The optimizer of the binary parameters. It must work element by element, so that it can train a stack."""

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> Optimizer:
        """The optimizers of the binary and the real parameters as one."""
        binary, real = binary_parameters(model), real_parameters(model)
        parts = [self.binary_optimizer(binary)] if binary else []  # type: ignore[arg-type]
        if real:
            parts.append(self.real_method().optimizer(nn.ParameterList(real), num_stacked))
        return BinaryTraining(parts, binary if self.clip else (), self)

    def real_method(self) -> SGDMethod | AdamWMethod:
        """The method that `real` describes.

        Raises:
            ValueError: `real` is not a valid variant.
        """
        return build_part("real", REAL, self.real)


class BitsMethod(BinaryMethod):
    """A method without latent weights. Its bits have no learning rate."""

    @property
    def lr(self) -> float:
        """The learning rate of the real parameters."""
        return self.real_method().lr
