"""What make says of an overlay before Snakemake reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

INHERITED = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
ROOT = Path(__file__).resolve().parents[2]
BROKEN = {
    "missing": (None, "config/mine.yaml: cannot be read (No such file or directory)"),
    "empty": (b"", "config/mine.yaml: must be a mapping of keys, got NoneType"),
    "tab": (b"name: a\nmethods:\n\tsgd: {}\n", "line 3, column 1"),
    "latin": ("name: größer".encode("latin-1"), "config/mine.yaml: is no text in UTF-8 (byte 0xf6 at 8)"),
}


@pytest.fixture
def make(project):
    """Run a target with an overlay, in an environment whose Snakemake only says what it was asked."""
    snakemake = project.folder / ".venv/bin/snakemake"
    snakemake.parent.mkdir(parents=True)
    snakemake.write_text('#!/bin/sh\necho "snakemake $*"\n')
    snakemake.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project.folder)
    for name in (".packages", ".ready"):
        (project.folder / ".venv" / name).touch()

    # what a `make test` above hands down would have this one print its folder
    environment = {key: value for key, value in project.environment.items() if key not in INHERITED}

    def make(target, config):
        command = ["make", target, "CORES=1", f"CONFIG={config}"]
        where = {"cwd": project.folder, "env": environment}
        return subprocess.run(command, **where, capture_output=True, text=True, timeout=120, check=False)

    return make


@pytest.mark.parametrize("target", ["reproduce", "resume"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_overlay_is_named(make, project, target, name):
    content, words = BROKEN[name]
    if content is not None:
        (project.folder / "config/mine.yaml").write_bytes(content)
    done = make(target, "config/mine.yaml")
    assert done.returncode
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_of_a_valid_overlay_nothing_is_said(make):
    done = make("reproduce", "config/test.yaml")
    options = "--cores 1 --scheduler greedy --quiet reason --show-failed-logs"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"snakemake {options} --configfile config/test.yaml\n"
    assert make("reproduce", "").stdout == f"snakemake {options}\n"
