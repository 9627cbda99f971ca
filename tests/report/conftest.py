"""Result folders made by hand, as the train and measure stages write them."""

import math

import pytest

from boundcheck import tables
from boundcheck.manifests import MEASURE_PROVENANCE, PROVENANCE, write_manifest
from boundcheck.planning.claims import deciding_settings, words_of

NAN = math.nan
SEEDS = (0, 1, 2)
RADII = (0.05, 0.1)


def _tidy(rows, schema):
    return {name: [row.get(name, NAN) for row in rows] for name in schema.names}


def _curve_rows(seed, accuracy, epochs, steps_per_epoch, phase):
    rows = []
    for step in range(epochs * steps_per_epoch):
        noise = 1 + 0.05 * math.sin(7 * step + seed)
        rows.append(("train_loss", step, 2.3 * math.exp(-step / (steps_per_epoch * epochs / 3)) * noise))
    for epoch in range(1, epochs + 1):
        progress = 1 - math.exp(-3 * epoch / epochs)
        wobble = 0.002 * math.cos(3 * seed + epoch + phase)
        step = epoch * steps_per_epoch
        rows.append(("test_accuracy", step, (accuracy + 0.001 * seed) * progress + wobble))
        rows.append(("full_train_loss", step, 2.3 * (1 - progress) + 0.01 + wobble))
        rows.append(("test_loss", step, 2.3 * (1 - progress) + 0.1 + wobble))
    return [
        {"seed": seed, "step": step, "epoch": step / steps_per_epoch, "quantity": quantity, "index": -1, "value": value}
        for quantity, step, value in rows
    ]


def _measurement_rows(seed, sharpness, zeroth, snapshots, steps_per_epoch, phase):
    rows = []
    for epoch in snapshots:
        scale = sharpness * (1 + 0.3 * epoch) * (1 + 0.02 * math.cos(3 * seed + phase))
        at_point = {"spectral_norm": scale, "gradient_norm": 0.1, "sharpness": scale}
        found = [(name, value, NAN) for name, value in at_point.items()]
        for rho in RADII:
            first = rho**2 * scale + 0.05 * rho
            found += [("first_order_flatness", first, rho), ("zeroth_order_flatness", zeroth * first, rho)]
            found += [("hessian_lipschitz", 2.0, rho)]
        where = {
            "seed": seed,
            "step": epoch * steps_per_epoch,
            "epoch": float(epoch),
            "index": -1,
            "analysis": "flatness",
        }
        rows += [{**where, "quantity": name, "value": value, "coordinate": rho} for name, value, rho in found]
    return rows


def settings_of(cell, epochs=5):
    """What a check spec says of a cell."""
    dataset, model, method = cell.split("/")
    activation = "relu" if model.endswith("relu") else "tanh"
    return {
        "dataset": {"name": dataset, "kind": dataset},
        "model": {"name": model, "kind": "mlp", "depth": 2, "width": 8, "activation": activation},
        "method": {"name": method, "kind": method.partition("_")[0]},
        "training": {"loss": "cross_entropy", "epochs": epochs, "batch_size": 32},
        "record": [{"kind": "loss"}],
        "roles": ["main"],
        "measured": True,
    }


def _provenance(cell, seeds, epochs, runs):
    method = cell.rpartition("/")[2]
    return {
        "spec": {**settings_of(cell, epochs), "seeds": list(seeds)},
        "code": "0123456789abcdef",
        "inputs": {},
        "versions": {"python": "3.11.2", "torch": "2.14.1"},
        "device": "cpu",
        "threads": 1,
        "wall_seconds": 30.0,
        "cpu_seconds": 27.0,
        "num_parameters": 1234,
        "num_gradients": 4 if "gam" in method else 1,
        "runs": runs,
    }


@pytest.fixture(scope="session")
def write_batch():
    """Write one batch's folder: curves that end near `accuracy`, flatness that grows with `sharpness`."""

    def write(
        results, cell, accuracy=0.9, sharpness=3.0, zeroth=0.6, seeds=SEEDS, diverged=(), epochs=5, steps_per_epoch=20
    ):
        method = cell.rpartition("/")[2]
        phase = sum(map(ord, method))
        batch = f"{cell}/seeds_{seeds[0]}-{seeds[-1]}"
        curves, measured, runs = [], [], []
        for seed in seeds:
            last = 1 if seed in diverged else epochs
            snapshots = [0] if seed in diverged else [0, epochs]
            curves += _curve_rows(seed, accuracy, last, steps_per_epoch, phase)
            measured += _measurement_rows(seed, sharpness, zeroth, snapshots, steps_per_epoch, phase)
            status = ("diverged", "the loss is not finite") if seed in diverged else ("done", "")
            runs.append({"seed": seed, "status": status[0], "reason": status[1], "step": last * steps_per_epoch})
        folder = results / batch
        tables.write(_tidy(curves, tables.TIDY), tables.TIDY, folder / "curves.parquet")
        tables.write(_tidy(measured, tables.MEASUREMENTS), tables.MEASUREMENTS, folder / "measurements.parquet")
        training = _provenance(cell, seeds, epochs, runs)
        write_manifest(folder / PROVENANCE, "train", training, [folder / "curves.parquet"])
        measuring = {"spec": {**training["spec"], "analyses": []}, "code": "fedcba9876543210", "inputs": {}}
        write_manifest(folder / MEASURE_PROVENANCE, "measure", measuring, [folder / "measurements.parquet"])
        return batch

    return write


@pytest.fixture(scope="session")
def claims_of():
    """Checks and claims that reach every decision on the folders of `make_scale`."""
    reference = {"reference": "Zhang et al. 2023, arXiv:2303.03108"}
    accuracy = {"kind": "higher_value", "quantity": "test_accuracy", "scale": 100, "unit": "points", "baseline": "sgd"}
    accuracy |= reference
    holds = {"kind": "theorem_holds", "coordinate": "radius ρ", **reference}
    checks = {"ordered": {"kind": "zeroth_below_first"}, "curvature": {"kind": "flatness_curvature"}}
    claims = {
        "zeroth_below_first": {
            **holds, "check": "ordered", "quantity": "flatness",
            "statement": "First-order flatness is never below zeroth-order flatness.",
        },
        "curvature_bounds": {
            **holds, "check": "curvature", "quantity": "R¹/ρ²", "vacuous_above": 1.02,
            "statement": "First-order flatness bounds the curvature.",
        },
        "gam_generalises": {**accuracy, "methods": ["gam*"], "statement": "GAM generalises better than SGD."},
        "sam_generalises": {**accuracy, "methods": ["sam"], "statement": "SAM generalises better than SGD."},
        "adam_generalises": {**accuracy, "methods": ["adamw"], "statement": "AdamW generalises better than SGD."},
        "gam_is_flatter": {
            "kind": "lower_value", "methods": ["gam*"], "quantity": "sharpness", "source": "measurements",
            "relative": True, "baseline": "sgd", "statement": "GAM finds flatter minima.", **reference,
        },
        "entropy": {**accuracy, "methods": ["entropy_sgd"], "statement": "Entropy-SGD is better."},
    }  # fmt: skip
    return checks, claims


@pytest.fixture(scope="session")
def statements(claims_of):
    """What each claim says, as a report's spec has it."""
    return {name: words_of(claim) for name, claim in claims_of[1].items()}


@pytest.fixture(scope="session")
def make_scale(write_batch, claims_of, identity_of):
    """Write a scale with one paper below a folder; gives its check spec and `results/test`."""

    def make(root):
        results = root / "results" / "test"
        cells = {
            "mnist5k/mlp/sgd": {"accuracy": 0.90, "sharpness": 3.0},
            "mnist5k/mlp/gam_exact": {"accuracy": 0.93, "sharpness": 1.5},
            "mnist5k/mlp/sam": {"accuracy": 0.8995, "sharpness": 2.0},
            "mnist5k/mlp/adamw": {"accuracy": 0.85, "sharpness": 4.0},
            "mnist5k/mlp_relu/sgd": {"accuracy": 0.91, "sharpness": 3.0},
            "mnist5k/mlp_relu/gam_exact": {"accuracy": 0.935, "sharpness": 1.4, "diverged": (1,)},
        }
        batches = [write_batch(results / "gam", cell, **settings) for cell, settings in cells.items()]
        checks, claims = claims_of
        skipped = {"dataset": "mnist5k", "model": "mlp", "method": "entropy_sgd", "reason": "no Langevin steps here"}
        spec = {
            "scale": "test",
            "study": "gam",
            "batches": {
                **{batch: identity_of(results / "gam" / batch) for batch in batches},
                "mnist5k/mlp_relu/sam/seeds_0-2": {},
            },
            "missing": {"mnist5k/mlp_relu/sam/seeds_0-2": "waiting"},
            "cells": {cell: settings_of(cell) for cell in (*cells, "mnist5k/mlp_relu/sam")},
            "skipped": [skipped],
            "checks": checks,
            "claims": {name: deciding_settings(claim) for name, claim in claims.items()},
        }
        return spec, results

    return make


@pytest.fixture
def scale(make_scale, tmp_path):
    """A scale of the test's own: its check spec and the folder `results/test`."""
    return make_scale(tmp_path)


@pytest.fixture(scope="session")
def checked_scale(make_scale, tmp_path_factory):
    """A scale whose paper has been checked, to be read only: its check spec and the folder `results/test`."""
    from boundcheck.report.check import check

    spec, results = make_scale(tmp_path_factory.mktemp("checked"))
    check(spec, results / "gam", results / "gam")
    return spec, results
