"""The Hessians of predictions as operators; of weight-normalised networks without directions that are known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.curvature.predictor import PredictorHessians
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.theory.weight_norm.network import Passes, passes


def predictor_hessians(model: nn.Module, inputs: Tensor, directions: Tensor) -> tuple[PredictorHessians, Tensor]:
    """Operators (n of them) with the spectral norms of ∇²_θ (ρᵀf)(θ; x_i), up to eigenvalues that are known.

    Of a WeightNormNetwork, a prediction depends on a row w of W¹ through p = w·x/‖x‖ and q = ‖w − p x/‖x‖‖ only, and
    on V through Vᵀρ. So the Hessian is that of a network with two inputs, one output and rows (p, q), plus, on the
    directions orthogonal to both x and w, the eigenvalue −s₁ c g (u·x)/r² for each row. Nothing is approximated.

    Args:
        model: any network.
        inputs: x (n, *input_shape), float64, none of them zero.
        directions: ρ (n, K).

    Returns: the operators, and the largest modulus (n,) of the eigenvalues that they lack.
    """
    if not isinstance(model, WeightNormNetwork) or inputs[0].numel() <= 2:
        return PredictorHessians(model, inputs, directions), inputs.new_zeros(len(inputs))
    at = passes(model.theory(directions @ model.output.detach().double()), inputs.flatten(1))
    network, lengths = at.network, torch.linalg.vector_norm(at.a[0], dim=-1)
    small = WeightNormNetwork(
        (2,), [*network.widths[1:], 1], model.activation_name, network.s[1:], network.normalised, model.gains
    )
    for layer, own in zip(small.layers, model.layers, strict=True):
        layer.gain = own.gain
    parts = {name: p.detach().double().repeat(len(lengths), *[1] * p.dim()) for name, p in model.named_parameters()}
    parts |= {"hidden.0.weight": _first_rows(at, lengths), "last.weight": network.output}
    theta = torch.cat([part.flatten(1) for part in parts.values()], dim=1)
    reduced = torch.stack([lengths, torch.zeros_like(lengths)], -1)  # (n, 2)
    operator = PredictorHessians(small, reduced, torch.ones_like(lengths).unsqueeze(-1), theta)
    return operator, _known_eigenvalues(at)


def output_directions(labels: Tensor, num_outputs: int) -> Tensor:
    """ρ (n, K): the unit vector of each example's class, or 1 for one output."""
    if num_outputs == 1:
        return torch.ones(len(labels), 1, dtype=torch.float64, device=labels.device)
    return F.one_hot(labels, num_outputs).double()


def _first_rows(at: Passes, lengths: Tensor) -> Tensor:
    """(p, q) of each row of W¹ and each input: (n, m, 2). Without normalisation q does not matter."""
    network, scale = at.network, lengths.unsqueeze(-1)
    along = (at.a[0] / scale) @ network.weights[0].mT  # (n, m)
    across = network.row_norms(1) * at.rest[1] / scale if network.normalised else torch.zeros_like(along)
    return torch.stack([along, across], -1)


def _known_eigenvalues(at: Passes) -> Tensor:
    """max_i |s₁ c_i g_i (u_i·x)|/r_i² (n,); 0 without normalisation."""
    network = at.network
    if not network.normalised:
        return torch.zeros_like(at.f)
    turning = network.s[1] * network.gain(1) * at.g[1] * at.aligned[1] / network.row_norms(1) ** 2  # (n, m)
    return turning.abs().amax(-1)
