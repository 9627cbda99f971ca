"""Runs Snakemake in forked children, so that only one process pays for its import; started by conftest.py.

Each line on standard input is a call (JSON); the answer is the child's exit code.
"""

import json
import os
import sys

import jsonschema  # noqa: F401  (what every call imports)
import snakemake.api
import snakemake.cli
import snakemake.dag
import snakemake.persistence
import snakemake.scheduling.job_scheduler
import snakemake.workflow


def run(call):
    """The command line's main, as a process of its own would run it."""
    os.chdir(call["folder"])
    os.environ.update(call["environment"])
    sys.path.insert(0, call["environment"]["PYTHONPATH"])
    sys.argv = ["snakemake", *call["arguments"]]
    snakemake.cli.main()


for line in sys.stdin:
    child = os.fork()
    if not child:
        call, code = json.loads(line), 1
        output = os.open(call["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            run(call)
        except SystemExit as leaving:
            code = leaving.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
