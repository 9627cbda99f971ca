"""What every analysis of a network's L(θ) promises; what all analyses do: tests/training/test_listed_kinds.py."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys

import pytest
import torch

from boundcheck.analyses import ANALYSES
from boundcheck.contracts import Snapshot
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings

VARIANTS = [
    {"kind": "hessian_spectrum", "top_k": 2},
    {"kind": "gradient_norm"},
    {"kind": "flatness", "rhos": [0.1], "relative_rhos": [0.05], "starts": 1, "iterations": 3, "segment": 3},
    {"kind": "trace", "num_hvps": 10},
    {"kind": "trace", "num_hvps": 10, "estimator": "hutch++"},
    {"kind": "trace", "estimator": "exact"},
    {"kind": "spectral_density", "num_steps": 5, "num_points": 20},
]
KINDS = sorted({variant["kind"] for variant in VARIANTS})


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join(map(str, list(v.values())[:3:2])))
def variant(request):
    return request.param


def measure(variant, model, objective, train, seed=0):
    """The rows by (quantity, index, coordinate)."""
    rows = build(ANALYSES, variant).measure(
        Snapshot(model, objective, train, train, torch.Generator().manual_seed(seed), TrainingSettings())
    )
    found = {(row.quantity, row.index, str(row.coordinate)): row for row in rows}
    assert len(found) == len(rows)
    return found


def values(found):
    return [(key, row.value, str(row.error)) for key, row in found.items()]


def test_equal_seeds_give_equal_rows_and_nothing_else_is_touched(variant, convolution, objective, train):
    convolution.train()
    before, random_state = copy.deepcopy(convolution.state_dict()), torch.get_rng_state()
    first, second = (values(measure(variant, convolution, objective, train)) for _ in range(2))
    assert first == second
    assert all(math.isfinite(value) for _, value, _ in first)
    assert all(torch.equal(value, before[name]) for name, value in convolution.state_dict().items())
    assert convolution[1].training
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_rows_of_the_cpu(variant, convolution, objective, train):
    here = measure(variant, convolution, objective, train)
    there = measure(variant, convolution.cuda(), objective, train)
    scale = max(abs(row.value) for row in here.values())
    for row, other in zip(here.values(), there.values(), strict=True):
        assert (row.quantity, row.index) == (other.quantity, other.index)
        assert other.value == pytest.approx(row.value, rel=1e-6, abs=1e-9 * scale)


@pytest.mark.parametrize("settings", [{"chunk_size": 6}, {"retain": False}, {"samples": None}, {"chunk_size": 20}])
def test_how_the_loss_is_cut_changes_nothing(variant, convolution, objective, train, settings):
    if variant["kind"] == "gradient_norm" and "retain" in settings:
        return
    if variant["kind"] == "flatness":
        variant = {**variant, "tolerance": 1e-12}
    plain = measure(variant, convolution, objective, train)
    cut = measure({**variant, **settings}, convolution, objective, train)
    scale = max(abs(row.value) for row in plain.values())
    for row, other in zip(plain.values(), cut.values(), strict=True):
        assert row.quantity == other.quantity
        assert other.value == pytest.approx(row.value, rel=1e-7, abs=1e-9 * scale)


def test_only_the_first_samples_count(variant, mlp, objective, train):
    other = train._replace(inputs=train.inputs.clone())
    other.inputs[12:] = 5.0
    variant = {**variant, "samples": 12}
    assert values(measure(variant, mlp, objective, train)) == values(measure(variant, mlp, objective, other))
    variant = {**variant, "samples": 13}
    assert values(measure(variant, mlp, objective, train)) != values(measure(variant, mlp, objective, other))


def test_a_network_that_is_not_finite_is_a_result(variant, mlp, objective, train):
    with torch.no_grad():
        mlp[1].weight[0, 0] = math.nan
    found = measure(variant, mlp, objective, train)
    assert math.isnan(found["loss", -1, "nan"].value)
    assert all(math.isnan(row.value) for row in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_batch_statistics_allow_no_chunks(kind):
    with pytest.raises(ValueError, match="chunk_size"):
        build(ANALYSES, {"kind": kind, "batch_norm": "train", "chunk_size": 5})


def test_measuring_imports_nothing_heavy():
    program = """
import sys, torch
from boundcheck.analyses import Flatness, HessianSpectrum
from boundcheck.contracts import Snapshot, Split
from boundcheck.settings import TrainingSettings
from boundcheck.objectives import CrossEntropy
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
split, generator = Split(torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])), torch.Generator()
for analysis in (HessianSpectrum(), Flatness(rhos=[0.1], iterations=2)):
    analysis.measure(Snapshot(model, CrossEntropy(0.1), split, split, generator, TrainingSettings()))
heavy = {"sympy", "scipy", "pandas", "torchvision", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {"OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_flatness_needs_a_radius():
    with pytest.raises(ValueError, match="rhos, relative_rhos: got no radius; allowed: at least one"):
        build(ANALYSES, {"kind": "flatness", "rhos": []})
