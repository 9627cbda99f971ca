"""Jobs as forks of one process that has imported everything: two to three seconds of every job, paid once.

`start_fork_server` is called by a Snakemake that runs its jobs on this machine, `forked_job.run_in_fork` by each of
those jobs. One that cannot be forked (no server, another Python, code that was edited since) runs in its own process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from boundcheck.jobs.forked_job import SERVER, identity

PACKAGE = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, when a library is imported
_kept: list[Any] = []  # what lives as long as the process that started a server


def start_fork_server(modules: Iterable[str], log: Path) -> None:
    """Start a process that imports `modules` and forks this process's jobs; it ends when this process does. Linux only.

    Jobs may ask at once: those that come before the imports are done wait for them. Without a server, for whatever
    reason, they run in processes of their own.

    Args:
        modules: what the forks find imported.
        log: where the server says why it ended early.
    """
    if sys.platform != "linux" or os.environ.get(SERVER) == "":
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        folder = tempfile.mkdtemp(prefix="boundcheck-")  # closed to other users, hence so is the socket
        path = os.path.join(folder, "socket")
        try:
            listener.bind(path)
            listener.listen(128)
            _kept.append(_started(listener, folder, modules, log))
        except OSError:  # such as a folder whose name is too long for a socket
            shutil.rmtree(folder, ignore_errors=True)
            return
        os.environ[SERVER] = path


def _started(listener: socket.socket, folder: str, modules: Iterable[str], log: Path) -> Any:
    """The server process, and what must stay open meanwhile."""
    lifeline, held = os.pipe()  # `held` is never closed: the other end is told when this process ends, however it ends
    descriptors = (listener.fileno(), lifeline)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "boundcheck.jobs.fork_server", *map(str, descriptors), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=descriptors,
            env={**os.environ, **dict.fromkeys(THREADS, "1")},
            start_new_session=True,  # what a terminal sends to all, the jobs pass on to their forks
        )
    os.close(lifeline)
    assert server.stdin is not None
    with server.stdin as words:
        words.write(json.dumps(list(modules)).encode())
    return server, held


def _code_state() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py")}


def _serve(listener: socket.socket, lifeline: int, folder: str, modules: Sequence[str]) -> None:
    """Fork a process for every job that asks and tell how it ended, until the process that started this one ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    waiting = selectors.DefaultSelector()
    try:
        state = [identity(), _code_state()]
        os.close(os.pidfd_open(os.getpid()))  # an old kernel has none: better now than with a job at work
        _import(modules)
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
                    _tell_the_end(key.fd, *key.data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fork(listener: socket.socket, waiting: selectors.BaseSelector, state: list[Any]) -> None:
    connection, _ = listener.accept()
    try:
        process = os.fork()
    except OSError:  # no memory, or too many processes: the job is told nothing and runs as its own
        traceback.print_exc()
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
    _answer(connection, state)


def _tell_the_end(watch: int, process: int, connection: socket.socket) -> None:
    os.close(watch)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with connection, contextlib.suppress(OSError):
        connection.sendall(f"{code if code >= 0 else 128 - code}\n".encode())


def _import(modules: Sequence[str]) -> None:
    from boundcheck.jobs.compiler import skip_compiler

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
    try:
        words = _prepare(connection, state)
        connection.sendall(f"{os.getpid()}\n".encode())
    except BaseException:  # the job runs in its own process, where the same will happen again or not
        traceback.print_exc()
        connection.shutdown(socket.SHUT_RDWR)
        os._exit(1)
    os.register_at_fork(after_in_child=connection.close)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    code = _exit_code(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _prepare(connection: socket.socket, state: list[Any]) -> list[str]:
    """Take the place of the process that asks; the words of its command."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    sys.argv = ["boundcheck", *job["words"]]
    gc.enable()
    return sys.argv[1:]


def _exit_code(words: Sequence[str]) -> int:
    """What a process of its own would exit with, and print."""
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


def _end_with(connection: socket.socket) -> None:
    """End this process as abruptly as the one that it runs for."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3], json.load(sys.stdin))
