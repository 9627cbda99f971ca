"""Trains in forked children that die at a given moment; run by test_kills.py as a process without threads.

Each line on standard input is a job (JSON); the answer is the child's exit code, negative for a signal.
"""

import json
import os
import pathlib
import shutil
import signal
import sys

import torch

import boundcheck.methods.adamw
import boundcheck.methods.gam  # noqa: F401  (so that no child pays for it)
from boundcheck.jobs import command_line as command
from boundcheck.planning.specs import SpecFiles
from boundcheck.training.loop import Loop
from boundcheck.training.train import train

torch.set_num_threads(1)
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)  # imports what every first optimizer imports


def die_before_file_operation(number):
    done = 0

    def guarded(function):
        def call(*arguments, **options):
            nonlocal done
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    os.replace = guarded(os.replace)
    pathlib.Path.replace = guarded(pathlib.Path.replace)
    pathlib.Path.rename = guarded(pathlib.Path.rename)
    shutil.rmtree = guarded(shutil.rmtree)


def signal_in_step(number, send):
    step, done = Loop.make_step, 0

    def interrupted_step(self):
        nonlocal done
        done += 1
        if done == number:
            os.kill(os.getpid(), send)
        step(self)

    Loop.make_step = interrupted_step


def run(job):
    """One training, with a checkpoint after every step."""
    paths = pathlib.Path(job["arrays"]), pathlib.Path(job["output"])
    if "signal" in job:
        signal_in_step(5, job["signal"])
        specs = SpecFiles()
        spec = specs.path(job["output"] + ".specs", job["spec"])
        specs.write(spec)
        arguments = ["--data", job["arrays"], "--output", job["output"]]
        return command.main(["train", "--spec", spec, *arguments])
    die_before_file_operation(job.get("deadly", 0))
    train(job["spec"], *paths, checkpoint_seconds=0)
    return 0


for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(2, 1)  # the answers have standard output to themselves
        code = 1
        try:
            code = run(json.loads(line))
        finally:
            sys.stdout.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
