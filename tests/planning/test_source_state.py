"""A folder of images that changes is fetched again; one that is gone is missed only where no arrays are."""

import json
import os
from pathlib import Path

import pytest

from boundcheck.planning.grid import make_plan
from boundcheck.planning.source_state import recorded_source_state, source_state


@pytest.fixture
def images(tmp_path):
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            (tmp_path / "images" / split / label / "1.png").write_bytes(b"picture")
    (tmp_path / "images/train/a/more/deep").mkdir(parents=True)
    (tmp_path / "images/train/a/more/up").symlink_to("..")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images/train/b/link").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "change",
    [
        lambda images: (images / "train/a/2.png").write_bytes(b"more"),
        lambda images: (images / "test/b/1.png").unlink(),
        lambda images: (images / "test/b/1.png").rename(images / "test/a/2.png"),
        lambda images: (images / "train/c").mkdir(),
        lambda images: (images / "train/a/more/deep/2.png").write_bytes(b"more"),
        lambda images: (images / "test/b/1.png").rename(images / "train/a/more/deep/1.png"),
        lambda images: (images.parent / "elsewhere/2.png").write_bytes(b"more"),
    ],
)
@pytest.mark.parametrize("above", [".", ".."], ids=["splits at the top", "one folder above them"])
def test_a_change_of_the_files_is_seen(images, change, above):
    top = (images / above).resolve()
    for folder in (top, *top.rglob("*"), images.parent / "elsewhere"):
        os.utime(folder, (1, 1))
    before = source_state(top)
    assert source_state(top) == before
    change(images)
    assert source_state(top) != before


def test_a_folder_that_may_not_be_read_has_a_state(images, monkeypatch):
    def refuse(folder):
        raise PermissionError(folder)

    before = source_state(images)
    monkeypatch.setattr(os, "scandir", refuse)
    assert source_state(images) not in (None, before)


def test_an_archive_is_known_by_size_and_time(tmp_path):
    archive = tmp_path / "images.zip"
    archive.write_bytes(b"one")
    os.utime(archive, (1, 1))
    before = source_state(archive)
    archive.write_bytes(b"four")
    os.utime(archive, (1, 1))
    assert source_state(archive) != before
    archive.write_bytes(b"one")
    os.utime(archive, (1, 1))
    assert source_state(archive) == before


def test_nothing_is_no_state(tmp_path):
    assert source_state(tmp_path / "absent") is None
    assert source_state(Path("a\0b")) is None
    assert source_state(Path("x" * 5000)) is None
    assert recorded_source_state("absent", {}, tmp_path) is None


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "null", '"text"', '{"spec": {}}', "[" * 10_000, '{"spec": 1e999}', "\0"]
)
def test_a_damaged_record_is_none(tmp_path, damaged):
    (tmp_path / "data/mine").mkdir(parents=True)
    (tmp_path / "data/mine/arrays.safetensors").touch()
    (tmp_path / "data/mine/provenance.json").write_text(damaged)
    assert recorded_source_state("mine", {}, tmp_path) is None


@pytest.fixture
def plan(images, make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = {"datasets": ["mine", "digits"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3, "training": {}}
    config = {
        "name": "small",
        "datasets": {"mine": {"kind": "image_folder", "path": str(images)}, "digits": {"kind": "digits"}},
        "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 3}},
        "methods": {"sgd": {"kind": "sgd", "lr": 0.1}},
        "analyses": {},
        "studies": {"own": {"grid": [block]}},
    }
    make_config(config)
    return make_plan(["config.yaml"])


def test_a_folder_that_went_away_after_fetching_is_not_missed(plan, images, tmp_path):
    (data,) = [name for name in plan.fetches if name.startswith("image_folder-")]
    state = plan.source_state(data)
    assert plan.missing_source(data) == []
    images.rename(tmp_path / "elsewhere")
    (problem,) = plan.missing_source(data)
    assert "config.yaml" in problem
    assert f"datasets.mine.path: got {str(images)!r}, which does not exist" in problem
    (tmp_path / "data" / data).mkdir(parents=True)
    (tmp_path / "data" / data / "arrays.safetensors").touch()
    provenance = {"spec": plan.fetch_spec(data), "source": state}
    (tmp_path / "data" / data / "provenance.json").write_text(json.dumps(provenance))
    assert plan.source_state(data) == state
    other = {"spec": {**plan.fetch_spec(data), "path": "typo"}, "source": state}
    (tmp_path / "data" / data / "provenance.json").write_text(json.dumps(other))
    assert plan.source_state(data) == "none", "arrays of another path say nothing of this one"


def test_other_datasets_have_no_source(plan):
    assert plan.source_state("digits") == "none"
    assert plan.missing_source("digits") == []


@pytest.mark.parametrize("path", ["a\0b", "a" * 5_000, "~nobody_at_all/images", "a/\x1b[31m/b"])
def test_a_path_that_no_file_can_have_does_not_exist(make_config, path):
    block = {"datasets": ["mine"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3, "training": {"epochs": 1}}
    config = {
        "name": "tiny",
        "datasets": {"mine": {"kind": "image_folder", "path": path}},
        "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 4}},
        "methods": {"sgd": {"kind": "sgd", "lr": 0.1}},
        "studies": {"own": {"grid": [block]}},
    }
    plan = make_plan([make_config(config)])
    (data,) = plan.fetches
    (problem,) = plan.missing_source(data)
    assert "datasets.mine.path: got " in problem
    assert len(problem) < 1_000
    assert problem.isprintable()
    assert plan.source_state(data) == "none"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_is_no_source(plan, images, make):
    (data,) = [name for name in plan.fetches if name.startswith("image_folder-")]
    images.rename(images.with_name("elsewhere"))
    make(images)
    (problem,) = plan.missing_source(data)
    assert "which is a pipe, a socket or a device; allowed: the folder or archive of the images" in problem
