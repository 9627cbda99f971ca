"""Full-batch steps of small autoencoders: all seeds at once beside one at a time, and the optimizer beside torch's.

    python benchmarks/dag_momentum.py

Rounds are interleaved in one process on one thread; CPU time, the median over rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from boundcheck.methods import AdaptiveMomentum
from boundcheck.models import Autoencoder
from boundcheck.models.stacking import stack

ROUNDS, STEPS = 5, 20
SHAPE, NUM_EXAMPLES = (1, 8, 8), 200
Step = Callable[[], object]


def network(seed: int) -> nn.Module:
    """The autoencoder of the digits, 64-24-12-8-12-24-64 with skips, in float64."""
    return Autoencoder(8).build(SHAPE, 64, torch.Generator().manual_seed(seed)).double()


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    """One full-batch step."""
    inputs = torch.rand(NUM_EXAMPLES, *SHAPE, dtype=torch.float64)
    targets = inputs.flatten(1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = ((model(inputs) - targets).square().sum(-1).mean(-1) / 2).sum()
        loss.backward()
        return loss

    return lambda: optimizer.step(closure)  # type: ignore[arg-type]


def cpu_seconds(steps: list[Step]) -> float:
    """CPU time of one step of all of them, seconds."""
    start = time.process_time()
    for _ in range(STEPS):
        for step in steps:
            step()
    return (time.process_time() - start) / STEPS


def print_table(title: str, made: dict[str, tuple[int, list[Step]]]) -> None:
    """Steps of one seed per second, and the ratio to the first row, round by round."""
    for _, steps in made.values():
        cpu_seconds(steps)
    rounds = [{name: cpu_seconds(steps) / seeds for name, (seeds, steps) in made.items()} for _ in range(ROUNDS)]
    baseline = next(iter(made))
    print(f"\n{title:44}{'steps/s of a seed':>18}{'x first row':>13}")
    for name in made:
        ratio = statistics.median(r[baseline] / r[name] for r in rounds)
        print(f"{name:44}{1 / statistics.median(r[name] for r in rounds):18.0f}{ratio:13.2f}")


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print(f"{NUM_EXAMPLES} digits, {sum(p.numel() for p in network(0).parameters())} parameters, float64, one thread")
    print(f"torch {torch.__version__}")
    for seeds in (3, 8):
        singles = [network(seed) for seed in range(seeds)]
        together = stack(singles)
        alone = [step_of(net, AdaptiveMomentum(net.parameters(), 0.02)) for net in singles]
        at_once = step_of(together, AdaptiveMomentum(together.parameters(), 0.02, num_stacked=seeds))
        made = {"one at a time": (seeds, alone), "all at once": (seeds, [at_once])}
        print_table(f"{seeds} seeds", made)
    nets = [network(0) for _ in range(3)]
    optimizers = {
        "torch SGD with momentum (fused)": torch.optim.SGD(nets[0].parameters(), 0.02, momentum=0.3, fused=True),
        "adaptive momentum": AdaptiveMomentum(nets[1].parameters(), 0.02),
        "adaptive momentum, a block per tensor": AdaptiveMomentum(nets[2].parameters(), 0.02, block="tensor"),
    }
    made = {
        name: (1, [step_of(net, optimizer)]) for net, (name, optimizer) in zip(nets, optimizers.items(), strict=True)
    }
    print_table("whole step of one seed", made)


if __name__ == "__main__":
    main()
