"""Specs as files: named by their content, written once, and refused where their content is another."""

from pathlib import Path

import pytest

from boundcheck.planning.config import ConfigError
from boundcheck.planning.specs import SpecFiles, read_spec


@pytest.fixture
def files():
    return SpecFiles()


def test_a_spec_comes_back_in_its_order(files, tmp_path):
    spec = {"b": [1, {"ρ": 0.1}], "a": None}
    path = files.path(str(tmp_path), spec)
    assert not Path(path).exists()
    files.write(path)
    assert list(read_spec(Path(path)).items()) == list(spec.items())


def test_the_name_follows_the_content(files, tmp_path):
    assert files.path("f", {"a": 1}) == files.path("f", {"a": 1}) != files.path("f", {"a": 2})


def test_a_file_that_is_there_is_left_alone(files, tmp_path):
    path = files.path(str(tmp_path), {"a": 1})
    files.write(path)
    before = Path(path).stat()
    files.write(path)
    assert (Path(path).stat().st_mtime_ns, Path(path).stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_another_content_is_refused(files, tmp_path):
    path = files.path(str(tmp_path), {"a": 1})
    files.write(path)
    Path(path).write_text('{"a": 2}')
    with pytest.raises(ConfigError, match="was changed: the digest of its content"):
        read_spec(Path(path))


def test_bytes_that_are_no_text_are_refused(files, tmp_path):
    path = files.path(str(tmp_path), {"a": 1})
    Path(path).parent.mkdir()
    Path(path).write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="was changed: the digest of its content"):
        read_spec(Path(path))


def test_a_file_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="start Snakemake again"):
        read_spec(tmp_path / "0123456789abcdef.json")
