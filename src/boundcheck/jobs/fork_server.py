"""A server process that has imported the modules of all jobs, and forks one process per job to save import time.

Snakemake calls `start_fork_server` if it runs its jobs on this machine. Each job calls `forked_job.run_in_fork`. If a
job cannot be forked (no server, another Python, or the code was edited since), it runs as a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from boundcheck.jobs.forked_job import SERVER, identity, socket_address, user_behind
from boundcheck.planning.cache import make_way
from boundcheck.training.stopping import STARTER

PACKAGE = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, when a library is imported
_kept: list[Any] = []  # keeps the server's standard input open; it closes when this process ends, and ends the server


def start_fork_server(modules: Iterable[str], log: Path) -> None:
    """Start a server that forks this process's jobs. Its name is put into the environment; it ends with this process.

    A job may connect at once: it waits until the server has imported the modules. There is no server on systems other
    than Linux, if the environment asks for none, or if it cannot be started. Then jobs run as processes of their own.

    Args:
        modules: the modules that the server imports.
        log: the file for the server's standard error.
    """
    if sys.platform != "linux" or os.environ.get(SERVER) == "":
        return
    name = f"boundcheck-{secrets.token_hex(8)}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_address(name))
        listener.listen(128)
        make_way(log)
        with open(log, "wb") as errors:
            server = subprocess.Popen(
                [sys.executable, "-m", "boundcheck.jobs.fork_server", str(listener.fileno()), json.dumps([*modules])],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[listener.fileno()],
                env={**os.environ, **dict.fromkeys(THREADS, "1")},
                start_new_session=True,  # Ctrl-C in the terminal reaches the jobs, which pass it on to their forks
            )
        _kept.append(server)
        os.environ[SERVER] = name


def _code_state() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}


def _serve(listener: socket.socket, lifeline: int, modules: Sequence[str]) -> None:
    """Fork a process for every job that connects, and send the job its exit code, until the lifeline closes.

    Args:
        listener: the socket to which jobs connect.
        lifeline: one end of a pipe; only the process that started the server holds the other end.
        modules: the modules to import first.
    """
    state = [identity(), _code_state()]
    os.close(os.pidfd_open(os.getpid()))  # a kernel before 5.3 has none: fail here, before any job runs
    _import(modules)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(lifeline, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fd == lifeline:
                return
            if key.fileobj is listener:
                _fork(listener, waiting, state)
            else:
                waiting.unregister(key.fileobj)
                _send_exit_code(key.fd, *key.data)


def _import(modules: Sequence[str]) -> None:
    from boundcheck.jobs.compiler import skip_compiler
    from boundcheck.jobs.imports import quick_imports

    with quick_imports():
        skip_compiler()
        for module in modules:
            import_module(module)


def _fork(listener: socket.socket, waiting: selectors.BaseSelector, state: list[Any]) -> None:
    connection, _ = listener.accept()
    try:
        process = os.fork() if user_behind(connection) == os.getuid() else None
    except OSError:  # no memory, or too many processes
        traceback.print_exc()
        process = None
    if process is None:  # the job gets no answer and runs as its own process
        connection.close()
        return
    if process:
        waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, connection))
        return
    for key in list(waiting.get_map().values()):
        os.close(key.fd)
        if key.data:
            key.data[1].close()
    waiting.close()
    _run_job(connection, state)


def _send_exit_code(watch: int, process: int, connection: socket.socket) -> None:
    os.close(watch)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with connection, contextlib.suppress(OSError):
        connection.sendall(f"{code if code >= 0 else 128 - code}\n".encode())


def _run_job(connection: socket.socket, state: list[Any]) -> None:
    """In a fork: run the command of the job, and exit with its exit code.

    Args:
        connection: the socket to the job.
        state: identity and code state of the server when it imported its modules.
    """
    try:
        words, starter = _prepare(connection, state)
        connection.sendall(b"\n")
    except BaseException:  # the job runs as its own process, where the same error is raised again if it must be
        traceback.print_exc()
        connection.shutdown(socket.SHUT_RDWR)
        os._exit(1)
    os.register_at_fork(after_in_child=connection.close)
    threading.Thread(target=_follow, args=(connection, starter), daemon=True).start()
    code = _exit_code(words)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):  # the server sends it too, unless it was killed
        connection.sendall(f"{code}\n".encode())
    os._exit(code)


def _prepare(connection: socket.socket, state: list[Any]) -> tuple[list[str], int | None]:
    """Take over the streams, folder and environment of the job.

    Returns:
        The arguments of its command, and the process of the Snakemake that started it; None if it was none.
    """
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    job = json.loads(connection.makefile("rb").readline())
    if state != [job["identity"], _code_state()]:
        raise RuntimeError("another interpreter, another resource group, or code that was edited since")
    os.chdir(job["folder"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(job["environment"])
    is_of_snakemake = os.environ.pop(STARTER, None) == str(job["parent"])
    sys.argv = ["boundcheck", *job["words"]]
    return sys.argv[1:], job["parent"] if is_of_snakemake else None


def _exit_code(words: Sequence[str]) -> int:
    """Run the command; returns the exit code, and prints the errors, of a process of its own."""
    try:
        from boundcheck.jobs.command_line import main

        return main(words)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1


def _follow(connection: socket.socket, starter: int | None) -> None:
    """Send this process every signal that the job forwards, and kill it when the job has ended.

    Args:
        connection: the socket to the job.
        starter: the job's Snakemake. When it has ended, this process gets SIGTERM: a training then writes a checkpoint.
    """
    with contextlib.suppress(OSError):
        watched = [connection.fileno()] + ([os.pidfd_open(starter)] if starter else [])
        while True:
            if connection.fileno() in select.select(watched, [], [])[0]:
                message = connection.recv(1)
                if not message:
                    break
                os.kill(os.getpid(), message[0])
            else:
                os.close(watched.pop())
                os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), os.dup(0), json.loads(sys.argv[2]))
