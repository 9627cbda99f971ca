"""A job as a fork of the server that its Snakemake started, where there is one; imports little, for it comes first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

SERVER = "BOUNDCHECK_FORK_SERVER"  # in the environment of the jobs: the server's socket; empty: no server is started


def run_in_fork(words: Sequence[str]) -> int | None:
    """Run a command in a fork of the server that the environment names, with this process's files and environment.

    Signals that ask to stop or to pause are passed on, and the fork does not outlive this process.

    Returns: its exit code, 128 + n if signal n ended it; None where it did not run: there is no server of this user,
        Python and code, or the job has more than one thread, or no standard input or output.
    """
    path = os.environ.get(SERVER)
    if not path or os.environ.get("OMP_NUM_THREADS", "1") != "1" or None in (sys.stdin, sys.stdout, sys.stderr):
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            if _user_behind(connection) != os.getuid():
                return None
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            job = {
                "words": list(words),
                "environment": dict(os.environ),
                "folder": os.getcwd(),
                "identity": identity(),
            }
            connection.sendall(json.dumps(job).encode() + b"\n")
            answers = connection.makefile("r")
            process = answers.readline().strip()
        except OSError:
            return None
        if not process:
            return None
        _pass_signals_on(int(process))
        code = ""
        with contextlib.suppress(OSError):
            code = answers.readline().strip()
    if not code:
        print("boundcheck: the server that forked this job has ended", file=sys.stderr)
    elif int(code) > 128:
        print(f"boundcheck: the job was ended by {signal.Signals(int(code) - 128).name}", file=sys.stderr)
    return int(code or 1)


def _user_behind(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _pass_signals_on(process: int) -> None:
    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    def pause(*_: Any) -> None:
        send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        send(signal.SIGCONT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: send(received))
    signal.signal(signal.SIGTSTP, pause)


def identity() -> list[str]:
    """What a process and its fork must share: the interpreter, the code's place, the container and resource group."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        groups = file.read()
    return [sys.prefix, sys.version, *sys.path, os.readlink("/proc/self/ns/mnt"), groups]
