"""Jobs as forks of one process that has imported everything: two to three seconds of every job, paid once.

`start_fork_server` is called by a Snakemake that runs its jobs on this machine, `run_in_fork` by each of those jobs. A
job that cannot be forked (no server, another Python, code that was edited since) runs in its own process as ever.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

SERVER = "BOUNDCHECK_FORK_SERVER"  # in the environment of the jobs: the server's socket; empty: no server is started
PACKAGE = Path(__file__).resolve().parent
_kept: list[Any] = []  # what lives as long as the process that started a server


def start_fork_server(modules: Iterable[str]) -> None:
    """Start a process that imports `modules` and forks this process's jobs; it ends when this process does. Linux only.

    Jobs may ask at once: those that come before the imports are done wait for them.
    """
    if sys.platform != "linux" or os.environ.get(SERVER) == "":
        return
    folder = tempfile.mkdtemp(prefix="boundcheck-")  # closed to other users, hence so is the socket
    path = os.path.join(folder, "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError:  # the folder for temporary files has too long a name for a socket, or cannot hold one
            shutil.rmtree(folder)
            return
        listener.listen(128)
        lifeline, held = os.pipe()  # `held` is never closed: the other end is told when this process ends, however
        descriptors = (listener.fileno(), lifeline)
        server = subprocess.Popen(
            [sys.executable, "-m", "boundcheck.fork_server", *map(str, descriptors), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # what a terminal sends to all, the jobs pass on to their forks
        )
    assert server.stdin is not None
    with server.stdin as words:
        words.write(json.dumps(list(modules)).encode())
    os.close(lifeline)
    _kept.append((server, held))
    os.environ[SERVER] = path


def run_in_fork(words: Sequence[str]) -> int | None:
    """Run a command in a fork of the server that the environment names, with this process's files and environment.

    Signals that ask to stop are passed on, and the fork does not outlive this process.

    Returns: its exit code; None where it did not run, for want of a server of this very Python and code.
    """
    path = os.environ.get(SERVER)
    if not path:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            job = {
                "words": list(words),
                "environment": dict(os.environ),
                "folder": os.getcwd(),
                "identity": _identity(),
            }
            connection.sendall(json.dumps(job).encode() + b"\n")
            answers = connection.makefile("r")
            process = answers.readline().strip()
        except OSError:
            return None
        if not process:
            return None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: os.kill(int(process), received))
        with contextlib.suppress(OSError):
            if code := answers.readline().strip():
                return int(code)
    return 128 + signal.SIGKILL


def _identity() -> list[str]:
    """What a process and its fork must share: the interpreter, the code's place, the container and resource group."""
    groups = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    return [sys.prefix, sys.version, *sys.path, os.readlink("/proc/self/ns/mnt"), groups]


def _code_state() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}


def _serve(listener: socket.socket, lifeline: int, folder: str, modules: Sequence[str]) -> None:
    """Fork a process for every job that asks, until the process that started this one ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a fork answers for itself
    state = [_identity(), _code_state()]
    try:
        _import(modules)
        while not select.select([listener.fileno(), lifeline], [], [])[0].count(lifeline):
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                os.close(lifeline)
                _answer(connection, state)
            connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _import(modules: Sequence[str]) -> None:
    from boundcheck.stages.eager import skip_compiler

    gc.disable()
    skip_compiler()
    for module in modules:
        import_module(module)
    gc.freeze()


def _answer(connection: socket.socket, state: list[Any]) -> None:
    """In a fork: run what the connection asks for, and leave with its exit code.

    Args:
        connection: to the process that asks.
        state: identity and code of the server when it imported what its forks have.
    """
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        job = json.loads(connection.makefile("rb").readline())
        if state != [job["identity"], _code_state()]:
            os._exit(0)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["folder"])
        gc.enable()
        connection.sendall(f"{os.getpid()}\n".encode())
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        code = _exit_code(job["words"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(f"{code}\n".encode())
        os._exit(code)


def _exit_code(words: Sequence[str]) -> int:
    """What a process of its own would exit with."""
    from boundcheck.command_line import main

    try:
        return main(words)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _end_with(connection: socket.socket) -> None:
    """End this process as abruptly as the one that it runs for."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3], json.load(sys.stdin))
