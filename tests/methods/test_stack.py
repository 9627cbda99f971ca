"""Seeds trained at once: a stack of three equals three single runs, for every method."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.registry import build

SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
ADAMW = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1}
ACCELERATED = {"rho": 0.2, "alpha": 0.6, "radius": 0.02, "beta": 0.5, "gamma": 0.3}
LATENT = {"kind": "latent_sgd", "lr": 0.1, "real": SGD}
BINARY = {  # a network without binary layers is trained by `real`; binary ones: test_binary_network.py
    "latent_sgd": {"lr": 0.1},
    "latent_sgd_decoupled": {"lr": 0.1},
    "latent_adam": {"lr": 0.1},
    "latent_adamw": {"lr": 0.1},
    "bop": {"gamma": 0.1},
    "gradient_filter": {"alpha": 0.1},
    "state_space_filter": {"rate": 0.1},
}
VARIANTS = {
    "sgd": SGD | {"nesterov": True},
    "adamw": ADAMW,
    "sam": {"kind": "sam", "base": SGD, "rho": 0.1, "rho_warmup": 3},
    "asam": {"kind": "asam", "base": SGD, "rho": 0.5},
    "gsam": {"kind": "gsam", "base": ADAMW, "rho": 0.1, "alpha": 0.3},
    "gradient_penalty": {"kind": "gradient_penalty", "base": SGD, "lam": 0.02, "radius": 0.1},
    "ascent_only": {"kind": "ascent_only", "base": SGD, "rho": 0.1},
    "gam_exact": {"kind": "gam", "base": SGD, "rho": 0.1, "alpha": 0.3},
    "gam_adamw": {"kind": "gam", "base": ADAMW, "rho": 0.1, "alpha": 0.3},
    "gam_inner_steps": {"kind": "gam", "base": SGD, "rho": 0.1, "alpha": 0.3, "inner_steps": 3},
    "gam_on_gsam": {
        "kind": "gam", "base": SGD, "rho": 0.1, "alpha": 0.3, "oracle": "gsam", "oracle_rho": 0.1, "oracle_alpha": 0.2
    },
    "gam_finite_difference": {
        "kind": "gam", "base": SGD, "rho": 0.1, "alpha": 0.3, "form": "finite_difference", "radius": 0.05
    },
    "gam_paper": {"kind": "gam", "base": SGD, "form": "accelerated_paper", **ACCELERATED},
    "gam_released": {"kind": "gam", "base": SGD, "form": "accelerated_released", **ACCELERATED},
    "gradient_descent": {"kind": "gradient_descent", "lr": 0.1, "weight_decay": 0.01},
    "adaptive_momentum": {"kind": "adaptive_momentum", "lr": 0.1, "s": 0.7, "weight_decay": 0.01},
    "adaptive_momentum_edges": {"kind": "adaptive_momentum", "lr": 0.1, "s": 0.7, "block": "edge"},
    "heavy_ball": {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.8},
    "nesterov": {"kind": "nesterov", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.01},
    "polyak": {"kind": "polyak", "curvature": 10.0, "strong_convexity": 0.5},
    "mapped_filter of real weights": {"kind": "mapped_filter", "latent": LATENT},
    **{f"{kind} of real weights": {"kind": kind, "real": SGD, **numbers} for kind, numbers in BINARY.items()},
}  # fmt: skip
NUM_STACKED = 3


class MLP(nn.Module):
    """Two layers; for a stack every parameter has a leading axis k, and so has the output (k, n, classes)."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        super().__init__()
        self.weight_1, self.bias_1, self.weight_2, self.bias_2 = (nn.Parameter(p.clone()) for p in parameters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(x @ self.weight_1.mT + self.bias_1.unsqueeze(-2))
        return x @ self.weight_2.mT + self.bias_2.unsqueeze(-2)


def train(variant, parameters, batches, num_stacked=1):
    method = build(METHODS, variant)
    model = method.prepare(MLP(parameters))
    optimizer = method.optimizer(model, num_stacked)

    def losses(inputs, labels):
        outputs = model(inputs).reshape(-1, 4)
        each = F.cross_entropy(outputs, labels.repeat(num_stacked), reduction="none")
        return each.view(num_stacked, -1).mean(-1)

    for inputs, labels in batches:

        def closure(inputs=inputs, labels=labels):
            optimizer.zero_grad()
            loss = losses(inputs, labels).sum()
            if not method.second_order:
                loss.backward()
            return loss

        optimizer.step(closure)
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_stack_equals_single_runs(name):
    shapes = [(6, 5), (6,), (4, 6), (4,)]
    scales = torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)  # slices whose norms differ
    stack = [
        torch.randn(NUM_STACKED, *shape, dtype=torch.float64) * scales.view(-1, *[1] * len(shape)) for shape in shapes
    ]
    batches = [(torch.randn(8, 5, dtype=torch.float64), torch.randint(4, (8,))) for _ in range(6)]
    together = train(VARIANTS[name], stack, batches, NUM_STACKED)
    for i in range(NUM_STACKED):
        alone = train(VARIANTS[name], [p[i] for p in stack], batches)
        for found, expected, start in zip(together, alone, stack, strict=True):
            torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-12)
            assert (expected - start[i]).abs().max() > 1e-4


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("sgd", "adamw")])
def test_a_slice_that_diverges_leaves_the_others_alone(name):
    stack = [torch.randn(2, *shape, dtype=torch.float64) for shape in [(6, 5), (6,), (4, 6), (4,)]]
    batches = [(torch.randn(8, 5, dtype=torch.float64), torch.randint(4, (8,))) for _ in range(3)]
    expected = train(VARIANTS[name], stack, batches, 2)
    stack[2][1, 0, 0] = float("inf")
    found = train(VARIANTS[name], stack, batches, 2)
    for with_other, without in zip(found, expected, strict=True):
        torch.testing.assert_close(with_other[0], without[0], rtol=0, atol=1e-12)
        assert not torch.isfinite(with_other[1]).all()


def test_a_model_that_is_no_stack_is_refused():
    method = build(METHODS, VARIANTS["sam"])
    parameters = [torch.randn(*shape) for shape in [(6, 5), (6,), (4, 6), (4,)]]
    model = MLP(parameters)
    optimizer = method.optimizer(model, NUM_STACKED)
    with pytest.raises(ValueError, match="leading axis"):
        optimizer.step(lambda: model(torch.randn(8, 5)).sum().backward())
    with pytest.raises(ValueError, match="num_stacked"):
        method.optimizer(model, 0)
