"""What the tightest bound on a predictor's Hessian costs, and its norm: all inputs at once against a plain loop.

Medians of interleaved rounds, CPU seconds of one thread, float64; what each found, as a mean over the inputs.

    python benchmarks/weight_norm.py --width 64 --depth 2 --samples 16
    python benchmarks/weight_norm.py --width 256 --depth 4 --samples 64 --only bounds
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from boundcheck.analyses.predictor_operators import output_directions, predictor_hessians
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.lanczos import lanczos
from boundcheck.curvature.predictor import PredictorHessians, spectral_norms
from boundcheck.models.weight_norm_mlp import WeightNormMLP
from boundcheck.theory.weight_norm.blocks import block_bounds
from boundcheck.theory.weight_norm.network import Network, Passes, passes, row_sensitivity

DIMENSION, NUM_OUTPUTS = 196, 10
TOLERANCE = 5e-3


def seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """CPU seconds of a piece of work, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def bounds(network: Network, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """B2 of all inputs at once; of one after another; and as its formula stands, by singular values of each block."""

    def loop() -> Tensor:
        found = []
        for one, v in zip(x.split(1), network.output.split(1), strict=True):
            alone = Network(network.weights, v, network.activation, network.scales)
            found.append(block_bounds(passes(alone, one)).hessian)
        return torch.cat(found)

    def plain() -> Tensor:
        return torch.stack([plain_bound(passes(network, x).part(slice(i, i + 1))) for i in range(len(x))])

    return {
        "B2, all inputs at once": lambda: block_bounds(passes(network, x)).hessian,
        "B2, input by input": loop,
        "B2, plain loop": plain,
    }


def plain_bound(at: Passes) -> Tensor:
    """B2 of one input of a normalised network without gains, written as `theory.weight_norm.blocks` states it."""
    network, depth, s = at.network, at.network.depth, at.network.s
    epsilon = {k: torch.diag(row_sensitivity(at, k)[0]) for k in range(1, depth + 1)}
    slopes = {k: torch.diag(at.slopes[k][0]) for k in range(1, depth + 1)}
    second = {depth: torch.diag((at.b[depth] * at.bends[depth])[0])}
    for k in range(depth - 1, 0, -1):
        step = network.transfer(k + 1) @ slopes[k]
        second[k] = torch.diag((at.b[k] * at.bends[k])[0]) + step.T @ second[k + 1] @ step
    matrix = torch.zeros(depth + 1, depth + 1, dtype=torch.float64)
    for k in range(1, depth + 1):
        along, across, r = at.aligned[k][0].abs(), at.rest[k][0], network.row_norms(k)
        turning = (at.g[k][0].abs() * (along + (along**2 + 4 * across**2).sqrt()) / (2 * r**2)).max()
        matrix[k - 1, k - 1] = torch.linalg.matrix_norm(epsilon[k] @ second[k] @ epsilon[k], 2) + s[k] * turning
        jacobian = epsilon[k]
        for later in range(k + 1, depth + 1):
            before, u = slopes[later - 1] @ jacobian, network.directions(later)
            weight = (at.g[later][0] / network.row_norms(later)) ** 2
            turn = weight.sum() * torch.eye(len(before), dtype=torch.float64) - u.T @ torch.diag(weight) @ u
            jacobian = network.transfer(later) @ before
            bent = torch.linalg.matrix_norm(epsilon[later] @ second[later] @ jacobian, 2)
            turned = torch.linalg.matrix_norm(before.T @ turn @ before, 2).sqrt()
            matrix[k - 1, later - 1] = bent + s[later] * turned
        matrix[k - 1, depth] = s[-1] * torch.linalg.matrix_norm(slopes[depth] @ jacobian, 2)
    return torch.linalg.matrix_norm(torch.triu(matrix) + torch.triu(matrix, 1).T, 2)


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
    parser.add_argument("--rounds", type=int, default=5)
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
    times: dict[str, list[float]] = {name: [] for name in work}
    means = {name: function().mean().item() for name, function in work.items()}  # warm up
    for _ in range(settings.rounds):
        for name, function in work.items():
            times[name].append(seconds(function)[0])
    for name, found in times.items():
        print(f"{name:28} {statistics.median(found):8.3f} s   mean {means[name]:.6g}")


if __name__ == "__main__":
    main()
