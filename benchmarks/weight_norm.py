"""What the tightest bound on a predictor's Hessian costs, and its norm: all inputs at once against a plain loop.

CPU seconds of one thread, float64. `python benchmarks/weight_norm.py [--width 64] [--depth 2] [--samples 16]`;
the bound alone at width 256, depth 4 and 64 inputs: `--width 256 --depth 4 --samples 64 --only bounds`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from boundcheck.analyses.predictor_operators import output_directions, predictor_hessians
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.lanczos import lanczos
from boundcheck.curvature.predictor import PredictorHessians, spectral_norms
from boundcheck.models.weight_norm_mlp import WeightNormMLP
from boundcheck.theory.weight_norm_blocks import block_bounds
from boundcheck.theory.weight_norm_network import Network, passes

DIMENSION, NUM_OUTPUTS = 196, 10
TOLERANCE = 5e-3


def seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """CPU seconds of a piece of work, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def bounds(network: Network, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """B2 of all inputs at once, and of one after another."""

    def loop() -> Tensor:
        found = []
        for one, v in zip(x.split(1), network.output.split(1), strict=True):
            alone = Network(network.weights, v, network.activation, network.scales)
            found.append(block_bounds(passes(alone, one)).hessian)
        return torch.cat(found)

    return {"B2, all inputs at once": lambda: block_bounds(passes(network, x)).hessian, "B2, input by input": loop}


def norms(model: torch.nn.Module, x: Tensor, rho: Tensor) -> dict[str, Callable[[], Tensor]]:
    """‖∇²f‖ by Lanczos: all inputs at once on the exact reduction, on all parameters, and one input after another."""

    def reduced() -> Tensor:
        operator, floor = predictor_hessians(model, x, rho)
        found = spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=TOLERANCE)
        return torch.maximum(found.norms, floor)

    def full() -> Tensor:
        operator = PredictorHessians(model, x, rho)
        return spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=TOLERANCE).norms

    def loop() -> Tensor:
        named = {name: p.detach() for name, p in model.named_parameters()}
        theta = torch.cat([p.flatten() for p in named.values()])
        found = []
        for one, direction in zip(x.split(1), rho, strict=True):

            def predict(theta: Tensor, one: Tensor = one, direction: Tensor = direction) -> Tensor:
                parts = theta.split([p.numel() for p in named.values()])
                state = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
                return torch.func.functional_call(model, state, (one,))[0] @ direction

            operator = HessianOperator(predict, theta)
            result = lanczos(operator, torch.Generator().manual_seed(0), by_magnitude=True, tolerance=TOLERANCE)
            found.append(result.eigenvalues[0].abs())
        return torch.stack(found)

    return {"‖∇²f‖, at once, reduced": reduced, "‖∇²f‖, at once": full, "‖∇²f‖, input by input": loop}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--only", choices=("bounds", "norms"))
    settings = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = WeightNormMLP(settings.depth, settings.width).build((DIMENSION,), NUM_OUTPUTS, generator).double()
    x = torch.randn(settings.samples, DIMENSION, generator=generator, dtype=torch.float64)
    x = x * math.sqrt(DIMENSION) / x.norm(dim=1, keepdim=True)
    rho = output_directions(torch.arange(settings.samples) % NUM_OUTPUTS, NUM_OUTPUTS)
    work: dict[str, Callable[[], Tensor]] = {}
    if settings.only != "norms":
        work |= bounds(model.theory(rho @ model.output.detach()), x)
    if settings.only != "bounds":
        work |= norms(model, x, rho)
    print(f"width {settings.width}, depth {settings.depth}, {settings.samples} inputs of {DIMENSION} numbers")
    for name, function in work.items():
        function()  # warm up
        cpu, result = seconds(function)
        print(f"{name:28} {cpu:8.3f} s   mean {result.mean().item():.6g}")


if __name__ == "__main__":
    main()
