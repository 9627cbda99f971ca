"""The settings of a cell with every default filled in."""

import json

import pytest

from boundcheck.cells.resolved import resolved_settings


def test_defaults_are_filled_in_at_every_depth(spec_of):
    method = {"name": "gam", "kind": "sam", "rho": 0.05, "base": {"kind": "sgd", "lr": 0.1}}
    spec = spec_of(method=method, record=["loss", {"kind": "bits", "every": 3}])
    spec["training"].pop("max_loss", None)
    spec["training"]["augment"] = {"crop": 2}
    found = resolved_settings({**spec, "analyses": [{"name": "spectrum", "kind": "hessian_spectrum", "top_k": 2}]})
    assert found["dataset"] == {
        "name": "digits",
        "kind": "digits",
        "train_size": 100,
        "test_size": 50,
        "pool": None,
        "normalise": "standard",
        "positive": None,
    }
    assert found["model"].items() >= spec["model"].items()
    assert found["method"]["base"].items() >= {"momentum": 0.0, "weight_decay": 0.0, "num_gradients": 1}.items()
    assert found["method"]["num_gradients"] == 2
    assert found["training"].items() >= {"max_loss": 1e4, "label_weight": 0.0, "teacher": None}.items()
    assert found["training"]["augment"] == {"crop": 2, "flip": False, "cutout": 0}
    assert found["record"] == [{"kind": "loss"}, {"kind": "bits", "every": 3}]
    (analysis,) = found["analyses"]
    assert analysis.items() >= {"name": "spectrum", "top_k": 2, "bottom_k": 1}.items()
    assert json.loads(json.dumps(found)) == found


def test_a_teacher_keeps_its_name_and_file(spec_of):
    teacher = {"name": "t", "kind": "teacher", "model": "resnet18", "weights": "IMAGENET1K_V1", "file": "data/t/a"}
    found = resolved_settings(spec_of(training={"loss": "distillation", "teacher": teacher}))["training"]
    assert found["teacher"].items() > teacher.items()
    assert found["teacher"]["num_classes"] is None


def test_a_setting_that_does_not_exist_is_refused(spec_of):
    with pytest.raises(ValueError, match="momenta: sgd has no such setting"):
        resolved_settings(spec_of(method={"name": "sgd", "kind": "sgd", "lr": 0.1, "momenta": 0.9}))
