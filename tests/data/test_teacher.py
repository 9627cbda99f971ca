"""Teachers: fetched once, unpickled by torch as weights only, and given what they were trained to see."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision import models as zoo
from torchvision.models import WeightsEnum

from boundcheck.contracts import Split, Splits
from boundcheck.data import DATASETS, transfer
from boundcheck.data.errors import DataError
from boundcheck.data.teacher import Teacher
from boundcheck.registry import build

MODEL = "shufflenet_v2_x0_5"
WEIGHTS = {"kind": "teacher", "model": MODEL, "weights": "IMAGENET1K_V1"}


def network(num_classes):
    torch.manual_seed(num_classes)
    return zoo.get_model(MODEL, weights=None, num_classes=num_classes).eval()


@pytest.fixture
def local(tmp_path):
    """`local(num_classes, **settings)` -> (a teacher of a file here, what it was fetched into)."""

    def local(num_classes, **settings):
        save_file(network(num_classes).state_dict(), tmp_path / "state.safetensors")
        variant = {"kind": "teacher", "model": MODEL, "path": str(tmp_path / "state.safetensors")}
        teacher = build(DATASETS, variant | {"num_classes": num_classes} | settings)
        teacher.fetch(tmp_path / "taught")
        return teacher, tmp_path / "taught" / "arrays.safetensors"

    return local


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """Put what torchvision would have downloaded where it lies, under a name that says its sha256."""

    monkeypatch.setenv("no_proxy", "*")

    def downloaded(content):
        folder = tmp_path / "downloads" / "teacher"
        folder.mkdir(parents=True)
        torch.save(content, folder / "new")
        digits = hashlib.sha256((folder / "new").read_bytes()).hexdigest()[:10]
        weights = zoo.get_model_weights(MODEL)["IMAGENET1K_V1"]
        entry = dataclasses.replace(weights.value, url=f"http://127.0.0.1:9/{MODEL}-{digits}.pth")
        monkeypatch.setattr(Teacher, "_entry", lambda _: Entry(entry))
        (folder / "new").rename(folder / entry.url.rpartition("/")[2])
        return tmp_path / "taught"

    return downloaded


class Entry:
    """What torchvision's registry holds, for weights with another address."""

    def __init__(self, weights):
        self.url, self.meta, self.transforms = weights.url, weights.meta, weights.transforms
        self.get_state_dict = partial(WeightsEnum.get_state_dict, self)


def splits(channels, num_classes, mean=0.3, std=0.2):
    none = Split(torch.zeros(0), torch.zeros(0))
    statistics = (torch.full((channels,), value, dtype=torch.float64) for value in (mean, std))
    return Splits(none, none, (channels, 12, 12), num_classes, *statistics)


def images(channels):
    return torch.rand(5, channels, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("normalise", ["standard", "unit"])
def test_named_weights_see_what_they_were_trained_on(downloaded, channels, normalise):
    root = downloaded(network(1000).state_dict())
    teacher = build(DATASETS, WEIGHTS)
    teacher.fetch(root)
    u = images(channels)
    seen = (u - 0.3) / 0.2 if normalise == "standard" else u
    state = torch.get_rng_state()
    found = teacher.function(root / "arrays.safetensors", splits(channels, 1000), normalise, "cpu", torch.float64)(seen)
    assert torch.equal(torch.get_rng_state(), state)
    mean, std = (torch.tensor(v).view(-1, 1, 1).double() for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = network(1000).double()((u - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not found.requires_grad


def test_a_download_that_is_no_weights_is_not_run(downloaded):
    class Explosive:
        def __reduce__(self):
            return pytest.fail, ("it was run",)

    root = downloaded({"conv1.0.weight": Explosive()})
    with pytest.raises(DataError, match=r"x0_5 IMAGENET1K_V1: .* holds more than weights.*check the network") as caught:
        build(DATASETS, WEIGHTS).fetch(root)
    assert "weights_only" not in str(caught.value)  # torch advises to read the file without it
    assert not (root / "arrays.safetensors").exists()


def test_kept_weights_that_are_others_are_refused(downloaded, monkeypatch):
    root = downloaded(network(1000).state_dict())
    (file,) = (root.parent / "downloads" / "teacher").glob("*.pth")
    torch.save({name: tensor * 0 for name, tensor in network(1000).state_dict().items()}, file)
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0)
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    problem = rf"refused>; check the network, or put the file with sha256 (\w{{10}}) at {file} yourself "
    with pytest.raises(DataError, match=problem + r"\(the file there has sha256 (?!\1)\w{10}\)$"):
        build(DATASETS, WEIGHTS).fetch(root)
    assert not root.exists()


def test_a_teacher_of_ones_own_sees_what_the_student_sees(local):
    teacher, file = local(7)
    x = images(3)
    for normalise in ("standard", "sphere"):
        found = teacher.function(file, splits(3, 7), normalise, "cpu", torch.float64)(x)
        torch.testing.assert_close(found, network(7).double()(x), rtol=0, atol=0)


def test_or_images_in_a_normalisation_of_its_own(local):
    teacher, file = local(7, mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0])
    u = images(3)
    found = teacher.function(file, splits(3, 7), "unit", "cpu", torch.float64)(u)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1).double(), torch.tensor([0.5, 1, 2]).view(-1, 1, 1)
    torch.testing.assert_close(found, network(7).double()((u - mean) / std), rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="normalise: got 'sphere'; allowed: standard or unit"):
        teacher.function(file, splits(3, 7), "sphere", "cpu", torch.float64)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (splits(3, 6), f"the teacher {MODEL} has 7 classes, the dataset has 6; both need the same classes"),
        (splits(1, 7), rf"the teacher {MODEL} on inputs of shape \(1, 12, 12\): .*; take another teacher"),
    ],
)
def test_it_must_fit_the_student(local, examples, message):
    teacher, file = local(7)
    with pytest.raises(DataError, match=message):
        teacher.function(file, examples, "standard", "cpu", torch.float32)


def test_weights_of_another_network_are_refused(local, tmp_path):
    with pytest.raises(DataError, match=r"resnet18 with 7 classes: .*; the weights are those of another network"):
        local(7, model="resnet18")
    assert not (tmp_path / "taught").exists()


def test_files_that_are_missing_or_altered(local):
    teacher, file = local(7)
    state = load_file(file)
    state["fc.bias"] += 1
    save_file(state, file, {"sha256": "0"})
    changed = r"its content has changed: sha256 is \w{64}, expected 0; to make it again: rm -r"
    for message in (changed, "no such file; fetch the teacher first"):
        with pytest.raises(DataError, match=message):
            teacher.function(file, splits(3, 7), "standard", "cpu", torch.float32)
        file.unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"no\.safetensors: .*; give the safetensors file"):
        build(DATASETS, {"kind": "teacher", "model": MODEL, "path": "no.safetensors", "num_classes": 2}).fetch(
            file.parent
        )
    with pytest.raises(DataError, match="is a teacher without examples"):
        teacher.load(file.parent)


@pytest.mark.parametrize(
    "change", [lambda bias: bias.view(torch.int32), lambda bias: bias[None], lambda bias: bias + 1]
)
def test_numbers_that_are_read_in_another_way_are_others(local, change):
    teacher, file = local(7)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    state["fc.bias"] = change(state["fc.bias"])
    save_file(state, file, metadata)
    with pytest.raises(DataError, match="its content has changed: sha256 is"):
        teacher.function(file, splits(3, 7), "standard", "cpu", torch.float32)


def test_weights_may_be_bfloat16(local):
    save = network(7).bfloat16().state_dict()
    teacher, file = local(7)
    save_file(save, Path(teacher.path))
    teacher.fetch(file.parent)
    assert load_file(file)["fc.bias"].dtype == torch.bfloat16
    teacher.function(file, splits(3, 7), "standard", "cpu", torch.float32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnet35"}, "model: got 'resnet35'; allowed: a classifier of torchvision"),
        ({"weights": "V3"}, "weights: got 'V3'; allowed: IMAGENET1K_V1"),
        ({"weights": None}, "weights: got None; allowed: these or a path"),
        ({"path": "x"}, "weights: got 'IMAGENET1K_V1'; allowed: these or a path"),
        ({"num_classes": 10}, "num_classes: got 10; allowed: none, the weights say it"),
        ({"weights": None, "path": "x"}, "num_classes: got None; allowed: a whole number >= 1"),
        ({"weights": None, "path": "x", "num_classes": 3, "mean": [0.5]}, "std: got None; allowed: as many"),
        (
            {"weights": None, "path": "x", "num_classes": 3, "mean": [0.5], "std": [0]},
            r"std: got \[0\]; allowed: a list of numbers > 0",
        ),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(DATASETS, WEIGHTS | settings)
