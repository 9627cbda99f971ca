"""What all tests share: one torch thread, the root of the project, and the spec of a small real cell."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from boundcheck import manifests
from boundcheck.data.arrays import arrays_digest
from boundcheck.planning.specs import SpecFiles

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
SPEC = {
    "dataset": {"name": "digits", "kind": "digits", "train_size": 100, "test_size": 50},
    "model": {"name": "mlp", "kind": "mlp", "depth": 1, "width": 6, "activation": "tanh"},
    "method": {"name": "sgd", "kind": "sgd", "lr": 0.1, "momentum": 0.9},
    "seeds": [0, 1, 2],
    "training": {"epochs": 3, "batch_size": 30, "lr_schedule": "cosine", "precision": "float64"},
    "snapshots": [0, 3],
    "record": ["loss", "accuracy", "gradient_norm"],
}


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def arrays(tmp_path_factory):
    from boundcheck.data.fetch import fetch

    path = tmp_path_factory.mktemp("data") / "digits" / "arrays.safetensors"
    fetch({"kind": "digits"}, path)
    return path


@pytest.fixture(scope="session")
def reseal():
    """Write the manifest of a stage again, with the files that are there now and, if given, other content."""

    def reseal(path, **content):
        manifest = json.loads(path.read_text())
        del manifest[manifests.OWN_DIGEST]
        outputs = [path.parent / name for name in manifest.pop("files") if (path.parent / name).exists()]
        manifests.write_manifest(path, manifest["stage"], {**manifest, **content}, outputs)

    return reseal


@pytest.fixture(scope="session")
def seal_arrays():
    """Write the manifest of an array file that was not made by a fetch."""

    def seal_arrays(path, spec):
        content = {"spec": spec, "modules": {}, "source": "none", "arrays": arrays_digest(path)}
        manifests.write_manifest(path.with_name(manifests.PROVENANCE), "fetch", content, ())

    return seal_arrays


@pytest.fixture(scope="session")
def identity_of():
    """What the files of a batch were made from, as a check spec has it."""

    def identity_of(folder):
        identity = {"measure": "", "measure_code": ""}
        stages = {"train": manifests.PROVENANCE, "measure": manifests.MEASURE_PROVENANCE}
        for stage, name in stages.items():
            if (folder / name).exists():
                manifest = manifests.read_manifest(folder / name, stage)
                identity |= {stage: manifest[manifests.SPEC_DIGEST], f"{stage}_code": manifest["code"]}
        return identity

    return identity_of


@pytest.fixture
def make_config(tmp_path):
    """Write a config, given as a mapping or as text; its path."""

    def make_config(content, name="config.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return make_config


@pytest.fixture
def spec_file(tmp_path):
    """Write the spec of a job; the file, as `--spec` takes it."""

    def spec_file(spec):
        files = SpecFiles()
        path = files.path(str(tmp_path), spec)
        files.write(path)
        return path

    return spec_file


@pytest.fixture
def spec_of():
    def spec_of(**changes):
        spec = copy.deepcopy(SPEC)
        for key, value in changes.items():
            spec[key] = {**spec[key], **value} if isinstance(value, dict) and key == "training" else value
        return spec

    return spec_of
