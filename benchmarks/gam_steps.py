"""A step of each flatness method in steps of SGD; and beside the authors' own GAM, where a checkout of it is given.

    python benchmarks/gam_steps.py [path of a checkout of the authors' repository]

Rounds are interleaved in one process on one thread; CPU time, medians over rounds. Beside the authors' code the two
start from one network and see the same batches, so that the weights after the steps say whether they do the same.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import build

ROUNDS, STEPS = 7, 5
SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
RELEASED = {"rho": 0.2, "radius": 0.03, "alpha": 0.1, "beta": 0.1, "gamma": 0.05}
VARIANTS = {
    "sgd": SGD,
    "sam": {"kind": "sam", "rho": 0.05, "base": SGD},
    "gsam": {"kind": "gsam", "rho": 0.05, "alpha": 0.1, "base": SGD},
    "gam, exact": {"kind": "gam", "rho": 0.1, "alpha": 0.3, "base": SGD},
    "gam, finite difference": {"kind": "gam", "form": "finite_difference", "rho": 0.1, "radius": 0.02, "alpha": 0.3}
    | {"base": SGD},
    "gam, accelerated, released": {"kind": "gam", "form": "accelerated_released", **RELEASED, "base": SGD},
}
NETWORKS = {
    "mlp 784-256-256-10": ({"kind": "mlp", "depth": 2, "width": 256}, (1, 28, 28), 64),
    "resnet8, width 8": ({"kind": "resnet", "depth": 8, "width": 8}, (1, 14, 14), 64),
    "resnet20": ({"kind": "resnet", "depth": 20}, (3, 32, 32), 32),
}
Step = Callable[[], object]


def ours(model: nn.Module, variant: dict[str, object], inputs: Tensor, labels: Tensor) -> Step:
    """A step of a method of this package."""
    method = build(METHODS, variant)
    optimizer = method.optimizer(model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        if not method.second_order:
            loss.backward()
        return loss

    return lambda: optimizer.step(closure)


def theirs(model: nn.Module, checkout: str, inputs: Tensor, labels: Tensor) -> Step:
    """A step of the authors' GAM with the same numbers."""
    sys.path.insert(0, checkout)
    from gam.gam import GAM  # type: ignore[import-not-found]

    alpha, beta = RELEASED["alpha"], RELEASED["beta"]
    weights = SimpleNamespace(
        grad_beta_1=alpha, grad_beta_2=1 - beta, grad_beta_3=1 - alpha, grad_gamma=RELEASED["gamma"]
    )
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    optimizer = GAM(model.parameters(), base, model, args=weights)
    optimizer.grad_rho, optimizer.grad_norm_rho = RELEASED["radius"], RELEASED["rho"]

    def step() -> object:
        optimizer.set_closure(F.cross_entropy, inputs, labels)
        return optimizer.step()

    return step


def cpu_seconds(step: Step) -> float:
    """CPU time of one step, seconds."""
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", help="a checkout of the authors' repository")
    checkout = parser.parse_args().checkout
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, {ROUNDS} rounds of {STEPS} steps")
    for name, (variant, shape, size) in NETWORKS.items():
        net = build(MODELS, variant).build(shape, 10, torch.Generator().manual_seed(0)).train()
        inputs, labels = torch.randn(size, *shape), torch.randint(10, (size,))
        models = {method: copy.deepcopy(net) for method in VARIANTS}
        steps = {method: ours(models[method], VARIANTS[method], inputs, labels) for method in VARIANTS}
        if checkout:
            models["authors' gam"] = copy.deepcopy(net)
            steps["authors' gam"] = theirs(models["authors' gam"], checkout, inputs, labels)
        for step in steps.values():
            step()
        rounds = [{method: cpu_seconds(step) for method, step in steps.items()} for _ in range(ROUNDS)]
        print(f"\n{name}, batch {size}: a step in steps of SGD")
        for method in steps:
            print(f"  {method:30}{statistics.median(r[method] / r['sgd'] for r in rounds):8.2f}")
        if "authors' gam" in steps:
            mine, other = (
                nn.utils.parameters_to_vector(models[m].parameters()) for m in (list(VARIANTS)[-1], "authors' gam")
            )
            ratio = statistics.median(r["gam, accelerated, released"] / r["authors' gam"] for r in rounds)
            print(f"  ours / the authors' {ratio:.2f}; largest difference of a weight {(mine - other).abs().max():.1e}")


if __name__ == "__main__":
    main()
