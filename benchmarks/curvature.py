"""Hessian-vector products, channels-last, R¹ of the best starts, eigenvalues, and the top one beside PyHessian.

    python benchmarks/curvature.py [path of a checkout of PyHessian]

Rounds are interleaved in one process on one thread; CPU time, medians over rounds. The reference of the eigenvalue is
Lanczos run to a residual of 1e-6.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.contracts import Split
from boundcheck.curvature.flatness import flatness
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.lanczos import lanczos
from boundcheck.models import MODELS
from boundcheck.objectives import CrossEntropy
from boundcheck.registry import build

ROUNDS = 7
NETWORKS = {
    "mlp 784-64-64-10": ({"kind": "mlp", "depth": 2, "width": 64}, (1, 28, 28), 256),
    "resnet8, width 8": ({"kind": "resnet", "depth": 8, "width": 8}, (1, 28, 28), 64),
    "vit, dim 32": ({"kind": "vit", "patch": 7, "dim": 32, "depth": 2, "heads": 4}, (1, 28, 28), 64),
}


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of a piece of work, seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def gradient(net: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Forward and backward."""
    net.zero_grad()
    F.cross_entropy(net(inputs), labels).backward()


def products(net: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """HVP over gradient, and channels-last over contiguous for both, as medians of ratios."""
    layouts = [(net, inputs)]
    if inputs.dim() == 4 and any(isinstance(module, nn.Conv2d) for module in net.modules()):
        last = copy.deepcopy(net).to(memory_format=torch.channels_last)
        layouts.append((last, inputs.contiguous(memory_format=torch.channels_last)))
    operators = []
    for model, x in layouts:
        losses, theta = flat_loss(model, CrossEntropy(), Split(x, labels))
        operators.append((HessianOperator(losses, theta), torch.randn_like(theta)))
    rounds = []
    for _ in range(ROUNDS):
        gradients = [cpu_seconds(lambda m=m, x=x: gradient(m, x, labels)) for m, x in layouts]  # type: ignore[misc]
        hvps = [cpu_seconds(lambda h=h, v=v: h.matvec(v)) for h, v in operators]  # type: ignore[misc]
        rounds.append((gradients, hvps))
    text = f"HVP / gradient {statistics.median(h[0] / g[0] for g, h in rounds):.2f}"
    if len(layouts) > 1:
        text += f"; channels-last: gradient x {statistics.median(g[1] / g[0] for g, _ in rounds):.2f}"
        text += f", HVP x {statistics.median(h[1] / h[0] for _, h in rounds):.2f}"
    return text


def eigenvalues(net: nn.Module, inputs: Tensor, labels: Tensor, checkout: str) -> str:
    """Time and error of the top eigenvalue at the default tolerances of both."""
    sys.path.insert(0, checkout)
    from pyhessian import hessian  # type: ignore[import-not-found]

    def mine() -> float:
        losses, theta = flat_loss(net, CrossEntropy(), Split(inputs, labels))
        return lanczos(HessianOperator(losses, theta), torch.Generator().manual_seed(0)).eigenvalues[0].item()

    def theirs() -> float:
        found, _ = hessian(net, nn.CrossEntropyLoss(), data=(inputs, labels), cuda=False).eigenvalues()
        return float(found[0])

    losses, theta = flat_loss(net, CrossEntropy(), Split(inputs, labels), dtype=torch.float64)
    exact = (
        lanczos(
            HessianOperator(losses, theta), torch.Generator().manual_seed(1), tolerance=1e-9, residual_tolerance=1e-6
        )
        .eigenvalues[0]
        .item()
    )
    ratio = statistics.median(cpu_seconds(mine) / cpu_seconds(theirs) for _ in range(3))
    errors = abs(mine() / exact - 1), abs(theirs() / exact - 1)
    return f"top eigenvalue: ours / PyHessian {ratio:.2f} of the time, error {errors[0]:.1e} against {errors[1]:.1e}"


def flatnesses(net: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """R¹ from the best two starts and from all: the values and the times."""
    losses, theta = flat_loss(net, CrossEntropy(), Split(inputs, labels))
    top = lanczos(HessianOperator(losses, theta), torch.Generator().manual_seed(0)).eigenvectors[0]

    def found(ascents: int | None) -> tuple[float, float]:
        start = time.process_time()
        draw = torch.Generator().manual_seed(1)
        result = flatness(losses, theta, 0.2, draw, 3, 20, top, 5, ascents=ascents, least_rise=0.01)
        return result.first, time.process_time() - start

    pairs = [(found(2), found(None)) for _ in range(3)]
    value = pairs[0][0][0] / pairs[0][1][0]
    share = statistics.median(best[1] / every[1] for best, every in pairs)
    return f"R¹(0.2) of the best two starts {value:.4f} of that of all, in {share:.2f} of the time"


def several(net: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """Products and times of one eigenvalue, and of several, of which copies are counted."""
    losses, theta = flat_loss(net, CrossEntropy(), Split(inputs, labels), dtype=torch.float64)
    hessian = HessianOperator(losses, theta)
    texts = []
    for top in (1, 3, 5):
        start = time.process_time()
        found = lanczos(hessian, torch.Generator().manual_seed(0), top, bottom=1)
        seconds = time.process_time() - start
        texts.append(
            f"top {top}: {found.num_matvecs} in {seconds:.2f} s" + ("" if found.converged else ", not settled")
        )
    return f"products for the smallest eigenvalue and the {'; '.join(texts)}"


def main() -> None:
    """Print a line or two for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", help="a checkout of PyHessian")
    checkout = parser.parse_args().checkout
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, {ROUNDS} rounds")
    for name, (variant, shape, size) in NETWORKS.items():
        net = build(MODELS, variant).build(shape, 10, torch.Generator().manual_seed(0)).eval()
        inputs, labels = torch.randn(size, *shape), torch.randint(10, (size,))
        print(f"{name}, {size} examples: {products(net, inputs, labels)}")
        print(f"  {flatnesses(net, inputs, labels)}")
        print(f"  {several(net, inputs, labels)}")
        if checkout:
            print(f"  {eigenvalues(net, inputs, labels, checkout)}")


if __name__ == "__main__":
    main()
