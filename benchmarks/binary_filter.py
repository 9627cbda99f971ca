"""Time and memory of a step: gradient filters beside the latent optimizers that they replace.

    python benchmarks/binary_filter.py

Rounds are interleaved in one process on one thread; CPU time, the median over rounds.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from boundcheck.methods import Bop, DecoupledSGD, GradientFilter, StateSpaceFilter
from boundcheck.models import BiRealNet
from boundcheck.models.binary_layers import binary_parameters

ROUNDS, STEPS = 9, 20
OPTIMIZERS = {
    "SGD with momentum, latent (fused)": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-4, fused=True),
    "Adam, latent (fused)": lambda p: torch.optim.Adam(p, 1e-3, fused=True),
    "averaged momentum, latent": lambda p: DecoupledSGD(p, 0.1, 0.9, 1e-4),
    "Bop": lambda p: Bop(p, 1e-3, 1e-8),
    "gradient filter, order 1": lambda p: GradientFilter(p, 1e-3),
    "gradient filter, order 2": lambda p: GradientFilter(p, 1e-3, 0.1),
    "gradient filter, order 3": lambda p: GradientFilter(p, 1e-3, 0.1, 0.3),
    "gradient filter, state space": lambda p: StateSpaceFilter(p, 1e-4, 0.9),
}


def cpu_seconds(optimizer: torch.optim.Optimizer) -> float:
    """CPU time of one step, seconds."""
    start = time.process_time()
    for _ in range(STEPS):
        optimizer.step()
    return (time.process_time() - start) / STEPS


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    shapes = [p.shape for p in binary_parameters(BiRealNet(20).architecture((3, 32, 32), 10))]
    made = {}
    for name, make in OPTIMIZERS.items():
        parameters = [nn.Parameter(0.01 * torch.randn(shape)) for shape in shapes]
        for p in parameters:
            p.grad = torch.randn_like(p)
        made[name] = make(parameters)
        made[name].step()
    rounds = [{name: cpu_seconds(optimizer) for name, optimizer in made.items()} for _ in range(ROUNDS)]
    num = sum(shape.numel() for shape in shapes)
    print(f"{num} binary weights in {len(shapes)} tensors (birealnet20), torch {torch.__version__}, one thread")
    print(f"{'':36}{'ms a step':>10}{'x SGD':>8}{'state, tensors a weight':>26}")
    baseline = next(iter(OPTIMIZERS))
    for name, optimizer in made.items():
        times = [r[name] for r in rounds]
        ratio = statistics.median(r[name] / r[baseline] for r in rounds)
        state = sum(t.numel() for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t) and t.dim())
        print(f"{name:36}{1e3 * statistics.median(times):>10.3f}{ratio:>8.2f}{state / num:>26.2f}")


if __name__ == "__main__":
    main()
