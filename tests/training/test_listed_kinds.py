"""What a line in a registry and a line in a config promise: the cell trains, stacks, resumes and is measured.

No kind is named here. For each, the first cell that uses it, in the test's config, the default or the paper's, is cut
down to forty images and trained by the real stages: a new method, model, recorder or analysis is tested by its lines.
"""

import contextlib
import copy
import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.data.fetch import fetch
from boundcheck.measuring.measure import measure
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.planning.grid import make_plan
from boundcheck.registry import as_variant, load
from boundcheck.training import train as training_stage
from boundcheck.training.train import TrainingInterrupted, train

CONFIG = Path(__file__).resolve().parents[2] / "config"
REGISTRIES = {"methods": METHODS, "models": MODELS, "record": CALLBACKS, "analyses": ANALYSES}
PAPER_SIZED = {"pyramidnet", "reactnet", "wide_resnet"}  # models that only the paper's scale can train; see there
BINARY = {"binary_mlp", "birealnet", "reactnet"}  # rounding decides the sign of a sum of few terms
EMBEDDED = ("mnist5k", "digits")


@cache
def plans():
    default = CONFIG / "config.yaml"
    return [make_plan([default, *overlay]) for overlay in ([CONFIG / "test.yaml"], [], [CONFIG / "paper.yaml"])]


def kinds_of(plan, batch):
    spec = plan.measure_spec(batch.folder)
    yield "methods", spec["method"]["kind"]
    yield "models", spec["model"]["kind"]
    for entry in spec["record"]:
        yield "record", as_variant(entry)["kind"]
    for variant in spec["analyses"]:
        yield "analyses", variant["kind"]


@cache
def cells():
    """The first cell of each (section, kind) on data that is at hand."""
    found = {}
    for plan in plans():
        for batch in plan.batches.values():
            if batch.train["dataset"]["kind"] in EMBEDDED:
                for key in kinds_of(plan, batch):
                    found.setdefault(key, plan.measure_spec(batch.folder))
    return found


def small(spec):
    """Forty images and two epochs of a cell (six steps where an epoch is one)."""
    spec = copy.deepcopy(spec)
    full = spec["training"]["batch_size"] == "full"
    epochs = 6 if full else 2
    spec["dataset"] |= {"train_size": 40, "test_size": 20}
    spec["training"] |= {"epochs": epochs, "precision": "float64", "evaluate_every": 1, "step_epochs": [1]}
    spec["training"] |= {} if full else {"batch_size": 10}
    spec["snapshots"], spec["seeds"] = [0, epochs], [0, 1, 2]
    return spec


ENTRIES = [(section, kind) for section, registry in REGISTRIES.items() for kind in registry]
LISTED = [(section, kind) for section, kind in ENTRIES if kind not in PAPER_SIZED]
trained = pytest.mark.parametrize(("section", "kind"), [entry for entry in LISTED if entry[0] != "analyses"])
measured = pytest.mark.parametrize("kind", ANALYSES)


@pytest.fixture(scope="module")
def arrays_of(tmp_path_factory):
    @cache
    def arrays_of(kind):
        path = tmp_path_factory.mktemp("data") / kind / "arrays.safetensors"
        fetch({"kind": kind}, path)
        return path

    return arrays_of


@pytest.fixture(scope="module")
def run(arrays_of, tmp_path_factory):
    """Train a spec, once: kinds whose first cell is the same share its trainings. Returns the folder.

    `asked_before`: stop it after so many questions whether to stop; a second call trains it to the end.
    """
    folders = {}

    def run(spec, asked_before=None):
        key = json.dumps([spec, asked_before], sort_keys=True)
        if key not in folders:
            folder, arrays = tmp_path_factory.mktemp("run"), arrays_of(spec["dataset"]["kind"])
            if asked_before is not None:
                stop_at(asked_before, spec, arrays, folder)
            train(spec, arrays, folder)
            folders[key] = folder
        return folders[key]

    return run


def stop_at(asked_before, spec, arrays, folder):
    asked = []

    @contextlib.contextmanager
    def stop():
        yield lambda: len(asked) == asked_before or asked.append(0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_stage, "stop_requests", stop)
        with pytest.raises(TrainingInterrupted):
            train(spec, arrays, folder)


def test_every_kind_stands_in_the_grid_of_a_config():
    named = {kind for plan in plans() for batch in plan.batches.values() for kind in kinds_of(plan, batch)}
    assert set(ENTRIES) <= named, "a line in a config is what makes a kind reachable, and tested"


def files(folder):
    return {path.relative_to(folder): path for path in folder.rglob("*") if path.suffix in (".parquet", ".safetensors")}


def stray(found, quantities):
    """Quantities that a kind does not say it gives: `validate` would refuse a claim that asks for them."""
    return {name for name in found if not any(fnmatchcase(name, pattern) for pattern in quantities.split())}


@trained
@pytest.mark.parametrize("asked_before", [2, 3], ids=["after a step", "before an evaluation"])
def test_a_training_that_is_stopped_and_resumed_ends_with_the_same_bits(asked_before, section, kind, run):
    """It is asked after every step, and before every evaluation: of four steps an epoch the last is asked of twice."""
    spec = small(cells()[section, kind])
    whole, cut = files(run(spec)), files(run(spec, asked_before))
    assert set(cut) == set(whole)
    for name, path in whole.items():
        assert path.read_bytes() == cut[name].read_bytes(), name


@trained
def test_seeds_trained_together_are_those_trained_alone(section, kind, run):
    spec = small(cells()[section, kind])
    together, epochs = run(spec), spec["snapshots"]
    curves = pd.read_parquet(together / "curves.parquet")
    assert curves.value.notna().any()
    recorded = (load(CALLBACKS, as_variant(entry)["kind"]).quantities for entry in spec["record"])
    assert not stray(curves.quantity.unique(), " ".join(recorded))
    if spec["model"]["kind"] in BINARY:  # alike until the first step; then see tests/methods
        curves, epochs = curves[curves.step == 0], [0]
    columns = ["quantity", "step", "index", "coordinate"]
    for index, seed in enumerate(spec["seeds"]):
        alone = run({**spec, "seeds": [seed]})
        expected = pd.read_parquet(alone / "curves.parquet")
        expected = expected[expected.step.isin(curves.step)].sort_values(columns, ignore_index=True)
        found = curves[curves.seed == seed].sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-9)
        for epoch in epochs:
            state = load_file(together / f"snapshots/epoch_{epoch}.safetensors")
            for name, value in load_file(alone / f"snapshots/epoch_{epoch}.safetensors").items():
                torch.testing.assert_close(state[name][index], value[0], rtol=1e-12, atol=1e-12)


@measured
def test_an_analysis_draws_nothing_but_its_own_numbers(kind, run, arrays_of, tmp_path):
    spec = small(cells()["analyses", kind])
    spec["snapshots"] = spec["snapshots"][-1:]
    spec["seeds"] = [0]
    spec["analyses"] = [variant for variant in spec["analyses"] if variant["kind"] == kind]
    folder = run({key: value for key, value in spec.items() if key != "analyses"})
    arrays = arrays_of(spec["dataset"]["kind"])
    for name in ("first", "second"):
        torch.rand(3)  # the global generator must not matter
        state = torch.get_rng_state()
        measure(spec, arrays, folder / "snapshots", tmp_path / f"{name}.parquet")
        assert torch.equal(torch.get_rng_state(), state)
    first, second = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("first", "second"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert len(first)
    assert first.value.map(lambda value: value == value).any()
    keys = ["analysis", "seed", "step", "quantity", "index", "coordinate"]
    assert not first.duplicated(keys).any()
    assert (first.error.dropna() >= 0).all()
    assert not stray(first.quantity.unique(), load(ANALYSES, kind).quantities)
