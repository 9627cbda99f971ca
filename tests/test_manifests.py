import contextlib
import hashlib
import json

import pytest

from boundcheck.manifests import (
    OWN_DIGEST,
    SPEC_DIGEST,
    ResultError,
    digest_of,
    read_manifest,
    require_spec,
    verified_bytes,
    verify,
    verify_all,
    write_manifest,
)


@pytest.fixture
def stage(tmp_path):
    """A stage that wrote a file and a folder."""
    (tmp_path / "curves").write_bytes(b"curves")
    (tmp_path / "snapshots" / "deep").mkdir(parents=True)
    (tmp_path / "snapshots" / "epoch_0").write_bytes(b"weights")
    (tmp_path / "snapshots" / "deep" / "epoch_1").write_bytes(b"more weights")
    path = tmp_path / "provenance.json"
    content = {"spec": {"lr": 0.1, "seeds": (0, 1)}, "code": "abc"}
    write_manifest(path, "train", content, [tmp_path / "curves", tmp_path / "snapshots"])
    return path


def test_it_lists_the_digest_of_every_file(stage):
    manifest = read_manifest(stage, "train")
    assert set(manifest["files"]) == {"curves", "snapshots/epoch_0", "snapshots/deep/epoch_1"}
    assert manifest["files"]["curves"] == hashlib.sha256(b"curves").hexdigest()
    assert manifest["code"] == "abc"
    assert manifest[SPEC_DIGEST] == digest_of({"seeds": [0, 1], "lr": 0.1})
    assert verify_all(stage, "train") == manifest
    assert verified_bytes(stage.parent / "curves", manifest, stage.parent) == b"curves"


def test_equal_content_gives_equal_bytes(stage):
    before = stage.read_bytes()
    content = {"code": "abc", "spec": {"seeds": [0, 1], "lr": 0.1}}
    write_manifest(stage, "train", content, [stage.parent / "snapshots", stage.parent / "curves"])
    assert stage.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "output"),
    [("curves", "curves"), ("snapshots/epoch_0", "snapshots"), ("snapshots/deep/epoch_1", "snapshots")],
)
@pytest.mark.parametrize("damage", ["other bytes", None], ids=["changed", "gone"])
def test_a_damaged_file_is_named_with_the_command_that_makes_it_again(stage, name, output, damage):
    manifest, file = read_manifest(stage, "train"), stage.parent / name
    file.unlink() if damage is None else file.write_text(damage)
    problem = "does not exist" if damage is None else r"damaged \(its sha256 begins with \w{12}, that in the provenance"
    message = (
        rf"{file}: {problem}.*; to make it again: rm -rf {stage.parent / output}, then the same snakemake command$"
    )
    for read in (verified_bytes, verify):
        with pytest.raises(ResultError, match=message):
            read(file, manifest, stage.parent)
    with pytest.raises(ResultError, match=message):
        verify_all(stage, "train")


def test_a_file_that_is_not_listed_is_refused(stage):
    (stage.parent / "other").write_bytes(b"x")
    with pytest.raises(ResultError, match=r"other: not listed in the provenance beside it"):
        verify(stage.parent / "other", read_manifest(stage, "train"), stage.parent)


def test_every_flipped_bit_of_a_manifest_is_refused_or_without_effect(stage):
    """White space is all that may change."""
    content, expected = stage.read_bytes(), read_manifest(stage, "train")
    for position in range(len(content)):
        stage.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with contextlib.suppress(ResultError):
            assert read_manifest(stage, "train") == expected, position


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", "7", '{"files": []}', "\x00", '{"manifest_sha256": 1, "files": {}}']
)
def test_what_is_no_manifest_is_refused(stage, content):
    stage.write_text(content)
    with pytest.raises(ResultError, match=r"provenance.json: damaged \("):
        read_manifest(stage, "train")


def test_a_manifest_that_is_not_there_is_named_with_the_output_to_delete(stage):
    stage.unlink()
    with pytest.raises(ResultError, match=r"provenance.json: does not exist; to make it again: rm -rf .*/curves,"):
        read_manifest(stage, "train", output=stage.parent / "curves")


def test_the_manifest_of_another_stage_is_refused(stage):
    with pytest.raises(ResultError, match=r"provenance.json: the provenance of another stage \(train\); to make it"):
        read_manifest(stage, "fetch")


def test_another_spec_is_refused(stage):
    manifest = read_manifest(stage, "train")
    require_spec(stage, manifest, digest_of({"lr": 0.1, "seeds": [0, 1]}), stage)
    with pytest.raises(ResultError, match="made from other settings than those of this run"):
        require_spec(stage, manifest, digest_of({"lr": 0.2, "seeds": [0, 1]}), stage)


def test_the_digest_covers_everything_but_itself(stage):
    manifest = json.loads(stage.read_text())
    own = manifest.pop(OWN_DIGEST)
    assert own == digest_of(manifest)
