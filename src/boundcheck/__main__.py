"""`python -m boundcheck`: run a command in a fork of the server that has its imports, else in this process."""

import os
import sys

from boundcheck.jobs.forked_job import run_in_fork


def main() -> int:
    """Run one sub-command of the command line; returns its exit code."""
    code = run_in_fork(sys.argv[1:])
    if code is None:
        from boundcheck.jobs.command_line import main as run

        code = run(sys.argv[1:])
    return code


if __name__ == "__main__":
    code = main()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)  # all output is written; an ordinary exit would unload torch first, which takes 0.7 s
