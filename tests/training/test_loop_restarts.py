"""Seeds that are restarted end as ones that began with the new rate, and the others of the stack do not notice."""

import json
import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from boundcheck.callbacks import CALLBACKS
from boundcheck.contracts import Restart
from boundcheck.training.restarts import requested_rates, reset_slices
from boundcheck.training.resumable import TrainingInterrupted, run
from boundcheck.training.train import train

EPOCHS = 6
METHODS = {
    "sgd": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.3},
    "adamw": {"kind": "adamw", "lr": 0.1},
    "adaptive_momentum": {"kind": "adaptive_momentum", "lr": 0.1, "s": 0.5, "block": "layer"},
    "heavy_ball": {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.9},
    "nesterov": {"kind": "nesterov", "lr": 0.1, "momentum": 0.9},
}
AT_ONCE = ("adaptive_momentum", "heavy_ball", "nesterov")  # take a learning rate for each seed


@dataclass
class Scripted:
    """Restarts each seed as its script says: own step and learning rate, in order; counts its own steps."""

    scripts: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    needs_gradient: ClassVar[bool] = False
    restarts: ClassVar[bool] = True
    num_calls: int = field(init=False, default=0)

    def on_step(self, training):
        self.num_calls += 1
        steps = training.steps_since_restart
        assert steps.dtype == torch.int64
        training.curve.record("own_step", training.step, training.epoch, steps)
        training.curve.record("calls", training.step, training.epoch, torch.full_like(steps, self.num_calls))
        asked = [self.next(training, index, int(step)) for index, step in enumerate(steps)]
        if all(math.isnan(lr) for lr in asked):
            return None
        return Restart(torch.tensor(asked, dtype=torch.float64), "the script says so")

    def next(self, training, seed_index, step):
        script = self.scripts.get(str(training.curve.seeds[seed_index]), [])
        number = training.curve.num_restarts(seed_index)
        return script[number][1] if number < len(script) and script[number][0] == step else math.nan

    def on_epoch(self, training):
        pass

    def state_dict(self):
        return {"calls": [self.num_calls]}

    def load_state_dict(self, state):
        (self.num_calls,) = state["calls"]


@dataclass(frozen=True)
class Unannounced:
    """Asks for a restart though its class does not say so."""

    needs_gradient: ClassVar[bool] = False

    def on_step(self, training):
        return Restart(torch.ones(len(training.curve.seeds)), "")

    def on_epoch(self, training):
        pass


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    module = types.SimpleNamespace(Scripted=Scripted, Unannounced=Unannounced)
    monkeypatch.setitem(sys.modules, "scripted_callbacks", module)
    monkeypatch.setitem(CALLBACKS, "scripted", "scripted_callbacks:Scripted")
    monkeypatch.setitem(CALLBACKS, "unannounced", "scripted_callbacks:Unannounced")


@pytest.fixture
def trained(spec_of, arrays, tmp_path):
    """Train; the curves by seed and quantity, and the folder."""

    def trained(name, method, scripts, lr=None, training=None, **changes):
        variant = {"name": "m", **METHODS[method]} | ({} if lr is None else {"lr": lr})
        spec = spec_of(
            method=variant,
            training={"batch_size": "full", "epochs": EPOCHS, "evaluate_every": 2, **(training or {})},
            snapshots=[0, 3, EPOCHS],
            record=["loss", "accuracy", {"kind": "scripted", "scripts": scripts}],
            **changes,
        )
        train(spec, arrays, tmp_path / name)
        return curves_of(tmp_path / name), tmp_path / name

    return trained


def curves_of(folder):
    curves = pd.read_parquet(folder / "curves.parquet")
    return curves[curves["quantity"] != "calls"].sort_values(["seed", "quantity", "step"], ignore_index=True)


def of_seed(curves, seed):
    """The rows of a seed without those of its restarts."""
    return curves[(curves["seed"] == seed) & (curves["quantity"] != "restart")].reset_index(drop=True)


def weights_of(folder, epoch, seed):
    state = load_file(folder / "snapshots" / f"epoch_{epoch}.safetensors")
    return torch.cat([value[seed].flatten() for _, value in sorted(state.items())])


@pytest.mark.parametrize("method", METHODS)
def test_a_restarted_seed_is_a_fresh_run_with_the_new_rate_bit_for_bit(trained, method):
    """Seed 1 starts three times, seed 2 at its very first and its last step; seed 0 goes on and waits."""
    scripts = {"1": [[4, 0.3], [2, 0.02]], "2": [[0, 0.07], [5, 0.04]]}
    curves, folder = trained("restarted", method, scripts)
    for seed, lr in enumerate([0.1, 0.02, 0.04]):
        fresh, fresh_folder = trained(f"fresh_{lr}", method, {}, lr=lr)
        pd.testing.assert_frame_equal(of_seed(curves, seed), of_seed(fresh, seed), check_exact=True)
        for epoch in (0, 3, EPOCHS):
            assert weights_of(folder, epoch, seed).equal(weights_of(fresh_folder, epoch, seed)), (seed, epoch)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["seeds_at_once"] == (3 if method in AT_ONCE else 1)
    assert [(run["restarts"], run["step"]) for run in provenance["runs"]] == [(0, EPOCHS), (2, EPOCHS), (2, EPOCHS)]


def test_the_curve_keeps_the_restarts_themselves(trained):
    curves, _ = trained("restarted", "heavy_ball", {"1": [[4, 0.3], [2, 0.02]]})
    restarts = curves[curves["quantity"] == "restart"]
    rows = list(restarts[["seed", "step", "epoch", "index", "value"]].itertuples(index=False, name=None))
    assert rows == [(1, 2, 2.0, 2, pytest.approx(0.02)), (1, 4, 4.0, 1, pytest.approx(0.3))]
    own = curves[curves["quantity"] == "own_step"]
    assert (own["step"] == own["value"]).all()
    assert (own.groupby("seed")["step"].agg(list).map(list(range(EPOCHS)).__eq__)).all()
    evaluated = curves[curves["quantity"] == "test_loss"].groupby("seed")["step"].agg(list)
    assert evaluated.tolist() == [[0, 2, 4, 6]] * 3  # in steps of its own, for every seed


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_stack_with_restarts_equals_single_runs(trained, schedule):
    scripts = {"1": [[4, 0.3], [2, 0.02]], "2": [[1, 0.07]]}
    training = {"lr_schedule": schedule, "warmup_epochs": 2}
    curves, folder = trained("stack", "adaptive_momentum", scripts, training=training)
    for seed in range(3):
        single, single_folder = trained(f"single_{seed}", "adaptive_momentum", scripts, training=training, seeds=[seed])
        mine = curves[curves["seed"] == seed].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, single, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(
            weights_of(folder, EPOCHS, seed), weights_of(single_folder, EPOCHS, 0), rtol=1e-12, atol=1e-12
        )


def test_batch_statistics_go_back_too(trained):
    net = {"name": "net", "kind": "resnet", "depth": 8, "width": 2}
    changes = {"model": net, "seeds": [0], "training": {"precision": "float32"}}
    _, folder = trained("restarted", "sgd", {"0": [[3, 0.02]]}, **changes)
    _, fresh = trained("fresh", "sgd", {}, lr=0.02, **changes)
    states = [load_file(each / "snapshots" / f"epoch_{EPOCHS}.safetensors") for each in (folder, fresh)]
    assert any("running_mean" in name for name in states[0])
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


def test_a_seed_that_stands_still_does_not_move(new_loop):
    loop = new_loop({"1": [[4, 0.02]]}, "heavy_ball")
    for _ in range(EPOCHS):
        loop.make_step()
    waiting = [p.detach().clone() for p in loop.model.parameters()]
    loop.make_step()
    assert loop.steps_since_restart.tolist() == [EPOCHS, 2, EPOCHS]
    for before, after in zip(waiting, loop.model.parameters(), strict=True):
        assert before[[0, 2]].equal(after[[0, 2]])
        assert not before[1].equal(after[1])


@pytest.fixture
def new_loop(spec_of, loop_of):
    def new_loop(scripts, method, seeds=(0, 1, 2), record=(), **training):
        spec = spec_of(
            method={"name": "m", **METHODS[method]},
            training={"batch_size": "full", "epochs": EPOCHS, **training},
            snapshots=[3],
            record=[*record, "loss", "accuracy", {"kind": "scripted", "scripts": scripts}],
        )
        return loop_of(spec, seeds)

    return new_loop


@pytest.mark.parametrize("stop_after", [1, 4, 5, 8, 10])
@pytest.mark.parametrize(("method", "seeds"), [("adaptive_momentum", (0, 1, 2)), ("sgd", (1,))])
def test_an_interrupted_run_resumes_to_the_same_bits(new_loop, tmp_path, method, seeds, stop_after):
    scripts = {"1": [[4, 0.3], [2, 0.02]], "2": [[1, 0.07]]}

    def run_until(folder, stops):
        asked = iter(range(1000))
        loop = new_loop(scripts, method, seeds)
        run(loop, folder, "id", lambda: next(asked) + 1 in stops, every_seconds=1e9)
        return loop

    whole = run_until(tmp_path / "whole", ())
    with pytest.raises(TrainingInterrupted):
        run_until(tmp_path / "cut", (stop_after,))
    resumed = run_until(tmp_path / "cut", ())
    for name, value in whole.model.state_dict().items():
        assert value.equal(resumed.model.state_dict()[name]), name
    columns = [pd.DataFrame(loop.curve.columns([None] * len(seeds))) for loop in (whole, resumed)]
    assert "calls" in set(columns[0]["quantity"])  # the callback's own state
    pd.testing.assert_frame_equal(*columns, check_exact=True)
    files = whole.snapshot_files(tmp_path / "whole", 3), resumed.snapshot_files(tmp_path / "cut", 3)
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_a_restart_at_the_step_that_diverged_saves_the_seed(new_loop, tmp_path):
    free = new_loop({}, "heavy_ball", seeds=(0,))
    run(free, tmp_path / "free", "id", lambda: False, 1e9)
    start = free.curve.columns([None])["value"][0]
    limit = {"max_loss": start * (1 - 1e-9)}  # exceeded at the very first step
    saved = new_loop({"0": [[0, 1e-3]]}, "heavy_ball", seeds=(0,), **limit)
    run(saved, tmp_path / "saved", "id", lambda: False, 1e9)
    assert saved.curve.num_restarts(0) == 1
    assert saved.divergence.steps == [0]  # of its second start
    lost = new_loop({"0": [[1, 1e-3]]}, "heavy_ball", seeds=(0, 1), **limit)
    run(lost, tmp_path / "lost", "id", lambda: False, 1e9)
    assert lost.curve.num_restarts(0) == 0
    assert lost.divergence.steps[0] == 0


def test_mini_batches_and_restarts_are_refused(new_loop):
    with pytest.raises(ValueError, match="batch_size: got 30; allowed: full, since scripted may restart"):
        new_loop({}, "sgd", seeds=(0,), batch_size=30)


def test_a_stack_whose_optimizer_has_one_rate_is_refused(new_loop):
    with pytest.raises(ValueError, match="seeds: got 3 at once; allowed: one, for SGD"):
        new_loop({}, "sgd")


def test_a_callback_announces_that_it_restarts(new_loop):
    loop = new_loop({}, "heavy_ball", record=["unannounced"])
    with pytest.raises(TypeError, match=r"unannounced: .* `restarts = True`"):
        loop.make_step()


def test_the_least_of_several_rates_counts():
    nan = math.nan
    restarts = [Restart(torch.tensor([nan, 0.5, nan]), "a"), Restart(torch.tensor([0.25, 0.75, nan]), "b")]
    assert requested_rates(restarts, 3) == {0: 0.25, 1: 0.5}


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises(ValueError, match="lr: a restart asks for"):
        requested_rates([Restart(torch.tensor([rate]), "")], 1)


def test_a_state_that_the_seeds_share_cannot_be_reset():
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3, 2)
    optimizer.step()
    with pytest.raises(TypeError, match="AdamW: its state 'step' has no leading axis of 3 seeds"):
        reset_slices(optimizer, [1], 3)
