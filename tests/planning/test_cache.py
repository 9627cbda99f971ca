"""A damaged file of the cache counts as absent, and is made again."""

import json
import os
import shutil
import subprocess

import pytest

from boundcheck.planning import cache, code_version, schema, validation
from boundcheck.planning.cache import FOLDER, keep_cached, read_cached

VALUE = {"a" * 64: ["0123", ["boundcheck.tables"]], "cells": {"b": [1.5, None]}}


def fill_with(content):
    return lambda path: path.write_bytes(content)


def make_folder(path):
    path.unlink()
    (path / "inside").mkdir(parents=True)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def link_to_nothing(path):
    path.unlink()
    path.symlink_to("nowhere")


DAMAGE = {
    "empty": fill_with(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "first line only": lambda path: path.write_bytes(path.read_bytes().partition(b"\n")[0]),
    "binary": fill_with(bytes(range(256)) * 4),
    "no JSON": fill_with(b"{"),
    "another type": fill_with(b"[1, 2]"),
    "null": fill_with(b"null"),
    "another value": lambda path: path.write_bytes(path.read_bytes().replace(b"1.5", b"2.5")),
    "one bit": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "nested too deeply": fill_with(b"[" * 100_000),
    "a folder": make_folder,
    "a pipe": make_pipe,
    "a link to nothing": link_to_nothing,
    "gone": lambda path: path.unlink(),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with the folder of Snakemake, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    return tmp_path


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_absent_and_can_be_kept_again(folder, damage):
    keep_cached("kind-1.json", VALUE, most=3)
    assert read_cached("kind-1.json") == VALUE
    DAMAGE[damage](FOLDER / "kind-1.json")
    assert read_cached("kind-1.json") is None
    keep_cached("kind-1.json", VALUE, most=3)
    assert read_cached("kind-1.json") == VALUE


def test_a_file_that_may_not_be_read_is_absent(folder, monkeypatch):
    keep_cached("kind-1.json", VALUE, most=3)

    def refuse(*arguments, **options):
        raise PermissionError("no")

    monkeypatch.setattr(cache.Path, "read_text", refuse)
    assert read_cached("kind-1.json") is None


def test_where_nothing_can_be_written_nothing_is_kept(folder):
    FOLDER.write_text("a file where the folder belongs")
    keep_cached("kind-1.json", VALUE, most=3)
    assert read_cached("kind-1.json") is None


def test_the_oldest_of_a_kind_go(folder):
    for number in range(5):
        keep_cached(f"kind-{number}.json", number + 1, most=3)
        os.utime(FOLDER / f"kind-{number}.json", (number, number))
    keep_cached("other-0.json", "kept", most=3)
    assert sorted(path.name for path in FOLDER.iterdir()) == [f"kind-{n}.json" for n in (2, 3, 4)] + ["other-0.json"]


@pytest.mark.parametrize("damage", ["cut", "another type", "binary", "a folder"])
def test_versions_of_the_code_do_not_depend_on_the_cache(folder, damage):
    def version():
        for function in (code_version._parsed, code_version._read, code_version._closure, code_version.reached_from):
            function.cache_clear()
        return code_version.code_version("boundcheck.planning.cache")

    expected = version()
    (kept,) = FOLDER.iterdir()
    content = kept.read_bytes()
    DAMAGE[damage](kept)
    assert version() == expected
    assert kept.read_bytes() == content


@pytest.mark.parametrize("damage", ["cut", "another type", "empty", "a folder"])
def test_a_plan_does_not_depend_on_the_cache(folder, damage, root, monkeypatch):
    answer = {"errors": [], "skipped": {"s": []}, "cells": {}, "claims": {"s": {"c": 1}}}
    runs, checks, files = [], [], [root / "config/config.yaml", root / "config/test.yaml"]

    def run(command, **_):
        runs.append(command)
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(validation.subprocess, "run", run)
    monkeypatch.setattr(schema, "validate_schema", lambda *_: checks.append(1))
    for _ in range(2):
        assert validation.validated_plan(files).claims == answer["claims"]
    assert (len(runs), len(checks)) == (1, 1)
    for kept in [*FOLDER.glob("validate-*"), *FOLDER.glob("schema-*")]:
        DAMAGE[damage](kept)
    for _ in range(2):
        assert validation.validated_plan(files).claims == answer["claims"]
    assert (len(runs), len(checks)) == (2, 2)


def test_the_folder_itself_may_go(folder):
    keep_cached("kind-1.json", VALUE, most=3)
    shutil.rmtree(FOLDER)
    assert read_cached("kind-1.json") is None
    keep_cached("kind-1.json", VALUE, most=3)
    assert read_cached("kind-1.json") == VALUE
