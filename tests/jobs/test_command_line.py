"""Commands end quietly when their reader does, and work where modules of POSIX are missing."""

import os
import subprocess
import sys

import pytest

from boundcheck.jobs.command_line import CLOSED_PIPE


def run(code, *words, **options):
    """Run code with arguments; its exit code and standard error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False, **options)


# `python -m boundcheck` with a standard output that nobody reads.
UNREAD = """
import os, runpy, sys
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
sys.argv[0] = "boundcheck"
runpy.run_module("boundcheck", run_name="__main__", alter_sys=True)
"""
QUESTIONS = {
    "help": ["--help"],
    "help of a command": ["train", "--help"],
    "kinds": ["kinds"],
    "schema": ["schema"],
    "claims": ["claims"],
    "claims with cells": ["claims", "--cells"],
    "status": ["status"],
    "why": ["why", "gam/mnist2000/mlp/sgd"],
    "validate": ["validate"],
    "a job": ["check", "--spec", "none.json", "--results", "none"],
}


@pytest.mark.parametrize("words", QUESTIONS.values(), ids=QUESTIONS)
def test_a_reader_that_ends_early_is_no_error(words, root):
    done = run(UNREAD, *words, cwd=root)
    allowed = (0, CLOSED_PIPE) if "--help" in words else (CLOSED_PIPE,)  # argparse may pass over the error
    assert done.returncode in allowed
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_an_output_that_is_full_is_one_line(root):
    with open("/dev/full", "w") as full:
        done = run("import runpy; runpy.run_module('boundcheck', run_name='__main__')", "kinds", cwd=root, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "boundcheck kinds: OSError: [Errno 28] No space left on device\n"


WITHOUT_POSIX = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
from boundcheck.jobs.command_line import _cost, main
from boundcheck.jobs import running_snakemakes
assert _cost(1) == "done: 1.0 s"
sys.exit(main(sys.argv[1:]))
"""


def test_modules_that_only_posix_has_are_not_needed(root):
    done = run(WITHOUT_POSIX, "status", cwd=root, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "waiting" in done.stdout
