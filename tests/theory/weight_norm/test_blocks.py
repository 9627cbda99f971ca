"""B2 against its formula written out: every norm from singular values, one input of one network after another."""

from __future__ import annotations

import math

import pytest
import torch

from boundcheck.curvature.spectral_bound import EXACT_SIZE
from boundcheck.theory.weight_norm import blocks as weight_norm_blocks
from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.blocks import block_bounds
from boundcheck.theory.weight_norm.bounds import layer_bounds
from boundcheck.theory.weight_norm.network import Network, passes

LARGE = EXACT_SIZE + 22


def norm(matrix):
    return torch.linalg.matrix_norm(matrix, 2)


def written_out(network, x):
    """‖M‖₂ of one network and one input, from the matrices of its definition."""
    at, depth, s = passes(network, x[None]), network.depth, network.s
    a, g, b, slopes, bends = (
        [t[0] if t.dim() else t for t in part] for part in (at.a, at.g, at.b, at.slopes, at.bends)
    )
    u = [None, *(network.directions(k) for k in range(1, depth + 1))]
    r = [None, *(network.row_norms(k) for k in range(1, depth + 1))]
    c = [None, *(network.gain(k) for k in range(1, depth + 1))]
    trained, normalised = float(network.trainable_gains), network.normalised
    second = {depth: torch.diag(b[depth] * bends[depth])}
    for k in range(depth - 1, 0, -1):
        step = network.transfer(k + 1) @ torch.diag(slopes[k])
        second[k] = torch.diag(b[k] * bends[k]) + step.T @ second[k + 1] @ step
    eps, turned = {}, {}
    for k in range(1, depth + 1):
        along = u[k] @ a[k - 1]
        across = (a[k - 1] - along[:, None] * u[k]).norm(dim=1)
        if normalised:
            eps[k] = s[k] * ((c[k] * across / r[k]) ** 2 + trained * along**2).sqrt()
            y, w = c[k].abs() * along.abs() / r[k] ** 2, across * ((c[k] / r[k] ** 2) ** 2 + trained / r[k] ** 2).sqrt()
            turned[k] = s[k] * (g[k].abs() * (y + (y**2 + 4 * w**2).sqrt()) / 2).max()
        else:
            eps[k], turned[k] = s[k] * a[k - 1].norm() * torch.ones_like(along), 0.0
    matrix = torch.zeros(depth + 1, depth + 1, dtype=torch.float64)
    for k in range(1, depth + 1):
        matrix[k - 1, k - 1] = norm(torch.diag(eps[k]) @ second[k] @ torch.diag(eps[k])) + turned[k]
        jacobian = torch.diag(eps[k])
        for later in range(k + 1, depth + 1):
            before = torch.diag(slopes[later - 1]) @ jacobian
            eye = torch.eye(len(before), dtype=torch.float64)
            turning = torch.zeros_like(eye)
            for i, row in enumerate(u[later]):
                project = eye - torch.outer(row, row) if normalised else eye
                rest = trained * torch.outer(row, row)
                turning += g[later][i] ** 2 * ((c[later][i] / r[later][i]) ** 2 * project + rest)
            jacobian = network.transfer(later) @ before
            bent = norm(torch.diag(eps[later]) @ second[later] @ jacobian)
            matrix[k - 1, later - 1] = bent + s[later] * norm(before.T @ turning @ before).sqrt()
        matrix[k - 1, depth] = s[-1] * norm(torch.diag(slopes[depth]) @ jacobian)
    return norm(torch.triu(matrix) + torch.triu(matrix, 1).T).item()


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(
    "variant", [{}, {"gains": "fixed"}, {"gains": "trainable"}, {"normalised": False}, {"scales": "random"}], ids=str
)
def test_small_networks_have_the_formula_itself(make_batch, depth, variant):
    batch = make_batch(seed=20 + depth, depth=depth, activation="gelu", num=16, **variant)
    network = batch.network
    found = block_bounds(passes(network, batch.inputs)).hessian[:, 0]
    for i in range(16):
        gains = None if network.gains is None else [gain[i] for gain in network.gains]
        weights, v = [w[i] for w in network.weights], network.output[i]
        common = (network.activation, network.scales, gains, network.trainable_gains, network.normalised)
        expected = written_out(Network(weights, v, *common), batch.inputs[i, 0])
        assert found[i].item() == pytest.approx(expected, rel=1e-9, abs=1e-150)


def wide(activation, scales, gains=None):
    generator = torch.Generator().manual_seed(8)
    widths = [9, LARGE, LARGE + 7, LARGE]
    weights = [
        (2 * torch.rand(m, n, generator=generator, dtype=torch.float64) - 1) / math.sqrt(n)
        for m, n in zip(widths[1:], widths, strict=False)
    ]
    v = torch.randn(3, widths[-1], generator=generator, dtype=torch.float64)
    x = torch.randn(3, widths[0], generator=generator, dtype=torch.float64)
    gain = None if gains is None else [torch.randn(m, generator=generator, dtype=torch.float64) for m in widths[1:]]
    plain = [1.0, 1.0, 1.0, 1 / math.sqrt(LARGE)] if scales == "plain" else None
    arguments = (SMOOTH[activation], plain, gain, gains == "trainable")
    return [Network(weights, row, *arguments) for row in v], Network(weights, v, *arguments), x


@pytest.mark.parametrize(
    ("activation", "scales", "gains"),
    [("tanh", "paper", None), ("softplus", "plain", None), ("tanh", "paper", "trainable")],
)
def test_large_networks_are_a_thousandth_above_it_at_most(monkeypatch, activation, scales, gains):
    alone, together, x = wide(activation, scales, gains)
    at = passes(together, x)
    found = block_bounds(at).hessian
    expected = [written_out(network, row) for network, row in zip(alone, x, strict=True)]
    for bound, exact in zip(found.tolist(), expected, strict=True):
        assert exact * (1 - 1e-10) <= bound <= 1.001 * exact
    assert (found <= layer_bounds(at).hessian).all()
    monkeypatch.setattr(weight_norm_blocks, "AT_ONCE", 1)
    torch.testing.assert_close(block_bounds(at).hessian, found, rtol=1e-4, atol=0)
