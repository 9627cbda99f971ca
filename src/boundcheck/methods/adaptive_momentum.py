"""Gradient descent with adaptive momentum: the momentum term is at most s times as long as the gradient step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from boundcheck.contracts import MomentumLaw
from boundcheck.methods.momentum import MomentumOptimizer
from boundcheck.settings import NotNegative, Positive, check, settings

Block = Literal["global", "layer", "edge"]
Scope = Literal["global", "group", "tensor"]
SCOPES: dict[Block, Scope] = {"global": "global", "layer": "group", "edge": "tensor"}


class AdaptiveMomentum(MomentumOptimizer):
    """Δθ ← −η g + τ Δθ, τ = s η ‖g‖/‖Δθ‖ (0 where Δθ = 0), θ ← θ + Δθ.

    On the full batch, with 0 ≤ s < 1, the loss falls at every step if η < 2/((1 + s) L), where L is the largest
    curvature along the step; see `boundcheck.theory.dag_momentum.step`. This also holds if each block of a partition of
    the parameters has its own τ.

    Args:
        params: parameters or groups.
        lr: η; with blocks, one value for each block.
        s: the momentum factor.
        block: the parameters that share one τ: `global`, all; `group`, a parameter group; `tensor`, a single tensor.
        weight_decay: λ of the penalty (λ/2) ‖θ‖², whose gradient is part of g.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of k independent networks.

    References: Agarwal, Klobusicky, Schonfeld 2021, arXiv:1705.07404; Zhang, Wu, Zheng 2006,
        doi:10.1109/tnn.2005.863460.
    """

    rules: ClassVar = {"s": NotNegative}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        s: float = 0.5,
        block: Scope = "global",
        weight_decay: float = 0.0,
        num_stacked: int = 1,
    ) -> None:
        check("block", block, Scope)
        self.block = block
        super().__init__(params, lr, weight_decay, {"s": s}, num_stacked)

    def move(self, gradient: Tensor, velocity: Tensor, lr: Any, update: Tensor) -> None:
        """See `MomentumOptimizer`."""
        s = self.number("s")
        if not isinstance(s, Tensor) and s == 0:
            torch.mul(gradient, -lr, out=update)
        else:
            torch.mul(velocity, self._ratio(gradient, velocity) * (s * lr), out=update)
            update -= lr * gradient
        velocity.copy_(update)

    def _ratio(self, gradient: Tensor, velocity: Tensor) -> Tensor:
        """‖g_b‖/‖Δθ_b‖ of each block, (k, 1) or spread over the coordinates (k, p); 0 where Δθ_b = 0."""
        if self.block == "global":
            norms = [torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in (gradient, velocity)]
            return _quotient(*norms)
        sizes = self._block_sizes()
        norms = [
            torch.cat([torch.linalg.vector_norm(part, dim=1, keepdim=True) for part in v.split(sizes, dim=1)], dim=1)
            for v in (gradient, velocity)
        ]  # (k, num_blocks)
        return _quotient(*norms).repeat_interleave(torch.tensor(sizes, device=gradient.device), dim=1)

    def _block_sizes(self) -> list[int]:
        groups = [[p.numel() for p in group["params"] if p.grad is not None] for group in self.param_groups]
        sizes = [sum(group) for group in groups] if self.block == "group" else [size for g in groups for size in g]
        return [size // self.num_stacked for size in sizes]


@settings
class AdaptiveMomentumMethod:
    """AdaptiveMomentum on all parameters of a network.

    Args:
        lr: η.
        s: the momentum factor; the theorems want s < 1.
        block: the parameters that share one τ: `global`, all; `layer`, the weights into one layer and its bias; `edge`,
            a single tensor.
        weight_decay: λ of the penalty (λ/2) ‖θ‖².
    """

    lr: Positive
    s: NotNegative = 0.5
    block: Block = "global"
    weight_decay: NotNegative = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    @property
    def momentum_law(self) -> MomentumLaw:
        """Adaptive, with s."""
        return MomentumLaw("adaptive", self.s)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> AdaptiveMomentum:
        """The optimizer of all parameters; with `layer`, each module with parameters is a group."""
        params = _by_layer(model) if self.block == "layer" else list(model.parameters())
        return AdaptiveMomentum(params, self.lr, self.s, SCOPES[self.block], self.weight_decay, num_stacked)


@settings
class GradientDescentMethod:
    """θ ← θ − η (g + λθ): adaptive momentum with s = 0.

    Args:
        lr: η.
        weight_decay: λ of the penalty (λ/2) ‖θ‖².
    """

    lr: Positive
    weight_decay: NotNegative = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False
    momentum_law: ClassVar[MomentumLaw] = MomentumLaw("adaptive", 0.0)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> AdaptiveMomentum:
        """The optimizer of all parameters."""
        return AdaptiveMomentum(model.parameters(), self.lr, 0.0, "global", self.weight_decay, num_stacked)


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator == 0, 0.0, numerator / denominator)


def _by_layer(model: nn.Module) -> list[dict[str, Any]]:
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layers.setdefault(name.rpartition(".")[0], []).append(parameter)
    return [{"params": parameters} for parameters in layers.values()]
