"""Learning from a teacher by the real stages: what is learnt, stacks and resumes, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models as zoo

from boundcheck.cells.resolved import resolved_settings
from boundcheck.data.errors import DataError
from boundcheck.data.fetch import fetch
from boundcheck.manifests import ResultError
from boundcheck.measuring.measure import measure
from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan
from boundcheck.planning.job_code import measure_modules, train_modules
from boundcheck.training import train as training_stage
from boundcheck.training.train import TrainingInterrupted, train

MODEL, TEMPERATURE, LABEL_WEIGHT = "shufflenet_v2_x0_5", 2.0, 0.3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Digits, and teachers of 10 and of 9 classes that were never trained: (arrays, the teachers' variants)."""
    root = tmp_path_factory.mktemp("data")
    fetch({"kind": "digits"}, root / "digits" / "arrays.safetensors")
    teachers = {}
    for count in (10, 9):
        torch.manual_seed(count)
        network = zoo.get_model(MODEL, weights=None, num_classes=count)
        with torch.no_grad():
            network.fc.weight.mul_(30)  # as decided as a trained one
        save_file(network.state_dict(), root / f"{count}.safetensors")
        variant = {"kind": "teacher", "model": MODEL, "path": str(root / f"{count}.safetensors"), "num_classes": count}
        variant |= {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}
        fetch(variant, root / f"taught{count}" / "arrays.safetensors")
        file = str(root / f"taught{count}" / "arrays.safetensors")
        teachers[count] = {"name": f"taught{count}", **variant, "file": file}
    return root / "digits" / "arrays.safetensors", teachers


@pytest.fixture
def spec(data):
    training = {
        "loss": "distillation",
        "teacher": data[1][10],
        "temperature": TEMPERATURE,
        "label_weight": LABEL_WEIGHT,
    }
    real = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.0}
    return {
        "dataset": {"name": "digits", "kind": "digits", "train_size": 60, "test_size": 20},
        "model": {"name": "net", "kind": "binary_mlp", "depth": 1, "width": 8},
        "method": {"name": "filter", "kind": "gradient_filter", "alpha": 0.05, "gamma": 0.3, "real": real},
        "training": {**training, "epochs": 2, "batch_size": 20, "precision": "float64"},
        "snapshots": [0, 2],
        "record": ["loss", "accuracy", "flip_ratio"],
        "seeds": [0, 1, 2],
    }


def test_the_loss_is_the_formula_and_only_the_student_learns(spec, data, loop_of):
    spec["seeds"], spec["record"] = [0], ["loss"]
    loop = loop_of(spec, file=data[0])
    splits = loop.examples.splits
    student = copy.deepcopy(loop.model)
    taught = {name: tensor.clone() for name, tensor in load_file(data[1][10]["file"]).items()}
    loop.make_step()
    inputs, targets = loop.batch
    network = zoo.get_model(MODEL, weights=None, num_classes=10).double().eval()
    network.load_state_dict(taught)
    images = inputs * splits.std.view(-1, 1, 1) + splits.mean.view(-1, 1, 1)
    teacher = network((images.expand(-1, 3, -1, -1) - 0.3) / 0.4)
    outputs, labels = student(inputs), targets[:, 1].argmax(1)
    loss = torch.zeros((), dtype=torch.float64)
    for f, t, y in zip(outputs, teacher, labels, strict=True):
        p = torch.exp(t / TEMPERATURE) / torch.exp(t / TEMPERATURE).sum()
        soft = -sum(
            p[k] * torch.log(torch.exp(f / TEMPERATURE)[k] / torch.exp(f / TEMPERATURE).sum()) for k in range(10)
        )
        hard = -torch.log(torch.exp(f)[y] / torch.exp(f).sum())
        loss = loss + ((1 - LABEL_WEIGHT) * TEMPERATURE**2 * soft + LABEL_WEIGHT * hard) / len(outputs)
    assert loop.losses.item() == pytest.approx(loss.item(), rel=1e-11)
    assert not targets.requires_grad
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    for mine, expected in zip(loop.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(mine.grad, expected, rtol=1e-8, atol=1e-12)
    assert max(gradient.abs().max() for gradient in gradients) > 1e-3
    for name, tensor in load_file(data[1][10]["file"]).items():
        assert torch.equal(tensor, taught[name])


def test_the_labels_of_a_batch_are_its_own(spec, data, loop_of):
    """Targets hold the label of each example, and a teacher that is not sure of it."""
    loop = loop_of(spec, file=data[0])
    batch = loop.batches.at(0)
    targets = loop.objective.targets(batch)
    assert targets.shape == (3, 20, 2, 10)
    assert torch.equal(targets[:, :, 1].argmax(-1), batch.labels)
    torch.testing.assert_close(targets.sum(-1), torch.ones(3, 20, 2, dtype=torch.float64))
    single = batch._replace(inputs=batch.inputs[1], labels=batch.labels[1])
    torch.testing.assert_close(loop.objective.targets(single), targets[1], rtol=1e-12, atol=1e-12)
    shared = loop.objective.losses(loop.model(single.inputs), targets[1])  # one batch of all seeds
    assert shared.shape == (3,)


def test_seeds_trained_together_are_those_trained_alone(spec, data, tmp_path):
    # latent weights: a pixel that is the same in all images has a gradient of rounding noise, which is a filter's sign
    spec["method"] = {"name": "latent", "kind": "latent_sgd", "lr": 0.5, "real": spec["method"]["real"]}
    train(spec, data[0], tmp_path / "together")
    curves = pd.read_parquet(tmp_path / "together" / "curves.parquet")
    columns = ["quantity", "step", "index"]
    for index, seed in enumerate(spec["seeds"]):
        train({**spec, "seeds": [seed]}, data[0], tmp_path / f"alone{seed}")
        alone = pd.read_parquet(tmp_path / f"alone{seed}" / "curves.parquet").sort_values(columns, ignore_index=True)
        found = curves[curves.seed == seed].sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(found, alone, rtol=1e-9, atol=1e-9)
        state = load_file(tmp_path / "together/snapshots/epoch_2.safetensors")
        for name, value in load_file(tmp_path / f"alone{seed}/snapshots/epoch_2.safetensors").items():
            torch.testing.assert_close(state[name][index], value[0], rtol=1e-12, atol=1e-12)
    losses = curves[curves.quantity == "test_loss"].groupby("step")["value"].mean()
    assert losses.iloc[-1] < losses.iloc[0]
    assert curves[(curves.quantity == "flip_ratio") & (curves.step == 6)]["value"].gt(0).all()


@pytest.mark.parametrize("is_same", [True, False], ids=["the same teacher", "another one in its file"])
def test_a_stopped_training_ends_with_the_bits_of_its_teacher(is_same, spec, data, tmp_path, monkeypatch):
    """And one whose teacher was fetched anew begins afresh."""
    asked, file = [], tmp_path / "taught" / "arrays.safetensors"

    @contextlib.contextmanager
    def after_four_steps():
        yield lambda: len(asked) == 4 or asked.append(0)

    shutil.copytree(Path(data[1][10]["file"]).parent, file.parent)
    spec["training"]["teacher"] = data[1][10] | {"file": str(file)}
    monkeypatch.setattr(training_stage, "stop_requests", after_four_steps)
    with pytest.raises(TrainingInterrupted):
        train(spec, data[0], tmp_path / "cut")
    monkeypatch.undo()
    if not is_same:
        state = load_file(data[1][10]["file"])
        save_file(state | {"fc.bias": torch.arange(10.0)}, tmp_path / "other.safetensors")
        settings = {key: value for key, value in data[1][10].items() if key not in ("name", "file")}
        settings |= {"path": str(tmp_path / "other.safetensors")}
        fetch(settings, file)
        spec["training"]["teacher"] |= settings
    train(spec, data[0], tmp_path / "cut")
    train(spec, data[0], tmp_path / "whole")
    for name in ("curves.parquet", "snapshots/epoch_2.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_in_bfloat16_the_loss_is_about_the_same(spec, data, loop_of):
    """As the paper's scale trains: autocast and channels last, for both networks."""
    spec["seeds"], spec["record"] = [0], ["loss"]
    spec["model"] = {"name": "net", "kind": "birealnet", "depth": 8, "width": 4}
    losses = {}
    for precision, channels_last in (("float32", False), ("bfloat16", True)):
        spec["training"] |= {"precision": precision, "channels_last": channels_last}
        loop = loop_of(spec, file=data[0])
        loop.make_step()
        losses[precision] = loop.losses.item()
        assert loop.batch[1].dtype == torch.float32
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_it_can_be_measured(spec, data, tmp_path):
    spec["seeds"], spec["model"] = [0], {"name": "net", "kind": "mlp", "depth": 1, "width": 4}
    spec["method"] = {"name": "sgd", "kind": "sgd", "lr": 0.1}
    spec["record"] = ["loss"]
    train(spec, data[0], tmp_path)
    spec["analyses"] = [{"name": "gradient", "kind": "gradient_norm", "samples": 20}]
    measure(spec, data[0], tmp_path / "snapshots", tmp_path / "measurements.parquet")
    assert pd.read_parquet(tmp_path / "measurements.parquet")["value"].map(math.isfinite).all()


def test_a_teacher_that_does_not_fit_is_refused_before_the_first_step(spec, data, tmp_path):
    spec["training"]["teacher"] = data[1][9]
    with pytest.raises(DataError, match="has 9 classes, the dataset has 10; both need the same classes"):
        train(spec, data[0], tmp_path / "run")
    spec["training"]["teacher"] = data[1][10] | {"file": str(tmp_path / "no.safetensors")}
    with pytest.raises(ResultError, match=r"does not exist; to make it again: rm -rf .*no\.safetensors, then the same"):
        train(spec, data[0], tmp_path / "run")
    assert not (tmp_path / "run").exists()


OVERLAY = {
    "name": "taught",
    "datasets": {"resnet34": {"kind": "teacher", "model": "resnet34", "weights": "IMAGENET1K_V1"}},
    "studies": {
        "binary_filter": {
            "grid": [
                {
                    "datasets": ["digits"],
                    "models": ["mlp32"],
                    "methods": ["filter_order1"],
                    "seeds": 3,
                    "training": {"loss": "distillation", "teacher": "resnet34", "label_weight": 0.5},
                }
            ]
        }
    },
}


@pytest.fixture
def planned(root, make_config):
    def planned(overlay):
        return make_plan([root / "config/config.yaml", make_config(overlay, "overlay.yaml")])

    return planned


def test_the_plan_fetches_the_teacher_and_a_change_of_it_reruns(planned):
    plan = planned(OVERLAY)
    (batch,) = plan.batches.values()
    assert list(plan.fetches) == list(batch.data)
    digits, teacher = batch.data
    assert digits == "digits"
    assert plan.pattern("data") == re.escape(digits) + "|" + re.escape(teacher)
    expected = {"name": "resnet34", **OVERLAY["datasets"]["resnet34"], "file": f"data/{teacher}/arrays.safetensors"}
    assert batch.train["training"]["teacher"] == batch.teacher == expected
    assert plan.fetch_spec(teacher) == OVERLAY["datasets"]["resnet34"]
    plan.resolved[batch.cell] = resolved_settings(plan.measure_spec(batch.folder))
    assert "resnet34" in plan.report_spec()["config"]["studies"]["binary_filter"]["datasets"]
    assert "boundcheck.data.teacher" in train_modules(batch.train)
    assert "boundcheck.data.teacher" in measure_modules(plan.measure_spec(batch.folder))
    plain = make_plan(["config/config.yaml"])
    assert "boundcheck.data.teacher" not in {m for b in plain.batches.values() for m in train_modules(b.train)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": "resnet50"}, "training.teacher: no teacher 'resnet50' in datasets; allowed: resnet34"),
        ({"teacher": "digits"}, "training.teacher: no teacher 'digits' in datasets; allowed: resnet34"),
        ({"label_weight": 1.0}, "label_weight: got 1.0; allowed: a number in"),
        ({"temperature": 0}, "temperature: got 0; allowed: a number > 0"),
    ],
)
def test_bad_settings_are_refused_by_the_plan(planned, change, message):
    overlay = copy.deepcopy(OVERLAY)
    overlay["studies"]["binary_filter"]["grid"][0]["training"] |= change
    with pytest.raises(ConfigError, match=message):
        planned(overlay)


def test_a_teacher_is_no_dataset(planned):
    overlay = copy.deepcopy(OVERLAY)
    overlay["studies"]["binary_filter"]["grid"][0]["datasets"] = ["resnet34"]
    with pytest.raises(ConfigError, match="datasets: resnet34 is a teacher without examples; name it in"):
        planned(overlay)
