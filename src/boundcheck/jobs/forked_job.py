"""The job's side of the fork server: runs a command in a fork of the server. Every job imports it, so it is small.

Over the socket, the job sends its standard streams and one line of JSON. The fork answers with an empty line and runs
the command. The job then sends the number of every signal that it receives, as one byte, and the fork sends the exit
code, or the server if the fork cannot. The fork ends when its connection to the job ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence

SERVER = "BOUNDCHECK_FORK_SERVER"  # environment variable: the name of the server's socket; empty: start no server
STOPPING = (signal.SIGTERM, signal.SIGINT)


def run_in_fork(words: Sequence[str]) -> int | None:
    """Run a command in a fork of the server that the environment names, with this process's streams and environment.

    SIGTERM and SIGINT are forwarded to the fork. Both are blocked until this process can forward them; otherwise a
    signal could end this process but not the fork. The fork ends when this process ends.

    Args:
        words: the arguments of `python -m boundcheck`.

    Returns:
        The exit code of the command; 128 + n if signal n ended the fork. None if the command did not run: there is no
        server, or it belongs to another user or has other code; or the job needs several threads or has a standard
        stream closed.
    """
    name = os.environ.get(SERVER)
    if not name or os.environ.get("OMP_NUM_THREADS", "1") != "1" or None in (sys.stdin, sys.stdout, sys.stderr):
        return None
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("r") as answers:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            _ask(connection, name, words)
            if not answers.readline():
                return None
            _pass_signals_on(connection)
        except OSError:
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        code = ""
        with contextlib.suppress(OSError):
            code = answers.readline().strip()
    if not code:
        print("boundcheck: the server that forked this job has ended", file=sys.stderr)
    elif int(code) > 128:
        print(f"boundcheck: the job was ended by {signal.Signals(int(code) - 128).name}", file=sys.stderr)
    return int(code or 1)


def _ask(connection: socket.socket, name: str, words: Sequence[str]) -> None:
    connection.connect(socket_address(name))
    if user_behind(connection) != os.getuid():
        raise PermissionError("the server belongs to another user")
    socket.send_fds(connection, [b"\0"], [0, 1, 2])
    job = {
        "words": list(words),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "identity": identity(),
        "parent": os.getppid(),
    }
    connection.sendall(json.dumps(job).encode() + b"\n")


def _pass_signals_on(connection: socket.socket) -> None:
    def send(number: int, _: object) -> None:
        with contextlib.suppress(OSError):  # the fork has ended; `run_in_fork` then reads its exit code
            connection.sendall(bytes([number]))

    for number in STOPPING:
        signal.signal(number, send)


def socket_address(name: str) -> str:
    """The address of the server's socket in Linux's abstract namespace. It is not a file, and ends with the server."""
    return "\0" + name


def user_behind(connection: socket.socket) -> int:
    """The user id of the process at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def identity() -> list[str]:
    """What a job and its fork must have in common: Python, module paths, container and resource group."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        groups = file.read()
    return [sys.prefix, sys.version, *sys.path, os.readlink("/proc/self/ns/mnt"), groups]
