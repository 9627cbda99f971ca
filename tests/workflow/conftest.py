"""A copy of the project to run Snakemake in, and a way to run it."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

SMALL = {
    "name": "small",
    "studies": {
        "gam": {
            "grid": [
                {
                    "datasets": ["tiny_digits"],
                    "models": ["tiny_mlp"],
                    "methods": ["sgd", "gam_exact"],
                    "seeds": 3,
                    "training": {"epochs": 2, "batch_size": 50},
                    "snapshots": [0, 2],
                    "analyses": ["tiny_spectrum", "tiny_flatness"],
                }
            ]
        }
    },
}


CONFIGS = ("config/test.yaml", "config/small.yaml")


def environment_of(folder):
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(folder / "src"), "PATH": path, "OMP_NUM_THREADS": "1"}


class Project:
    """A copy of the tree; `snakemake` and `boundcheck` run in it and use its own sources."""

    def __init__(self, folder, validations, server):
        self.folder, self.server = folder, server
        (folder / ".snakemake").mkdir()
        (folder / ".snakemake/boundcheck").symlink_to(validations, target_is_directory=True)
        for name in ("config", "workflow", "profiles", "src", "envs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copy(ROOT / "Snakefile", folder)
        self.config = copy.deepcopy(SMALL)
        self.write_config("config/small.yaml", self.config)
        self.environment = environment_of(folder)

    def copied(self, folder):
        """A copy with everything that was made, times of change included: nothing is to be done in it."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        other = copy.copy(self)
        other.folder, other.config, other.environment = folder, copy.deepcopy(self.config), environment_of(folder)
        return other

    def write_config(self, name, content):
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def edit(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} holds no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def run(self, *command, timeout=280, expect=0):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        output = done.stdout + done.stderr
        assert expect is None or done.returncode == expect, output
        return output

    def snakemake(self, *arguments, configs=CONFIGS, **options):
        """Options that take several values come first, so that targets in `arguments` are not swallowed."""
        return self.run("snakemake", "--configfile", *configs, "--cores", "1", *arguments, **options)

    def boundcheck(self, *arguments, **options):
        return self.run("boundcheck", *arguments, **options)

    def planned(self, *arguments, configs=CONFIGS):
        """How many jobs of each rule a dry run plans."""
        output = self.server(self, "--configfile", *configs, "--cores", "1", "-n", *arguments)
        counts = {}
        for line in output.partition("Job stats:")[2].splitlines()[3:]:
            words = line.split()
            if len(words) != 2 or words[0] == "total":
                break
            counts[words[0]] = int(words[1])
        assert counts or "Nothing to be done" in output, output
        return counts


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Run Snakemake in a project without paying for its import each time; its output."""
    output = tmp_path_factory.mktemp("server") / "output"
    command = [sys.executable, str(Path(__file__).with_name("snakemake_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def call(project, *arguments):
            where = {"folder": str(project.folder), "environment": project.environment, "output": str(output)}
            process.stdin.write(json.dumps({**where, "arguments": arguments}) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            assert code == 0, output.read_text()
            return output.read_text()

        yield call
        process.stdin.close()


@pytest.fixture(scope="session")
def validations(tmp_path_factory):
    """Answers of `boundcheck validate`, shared by the copies: equal configs and sources are validated once."""
    return tmp_path_factory.mktemp("validations")


@pytest.fixture(scope="session")
def new_project(validations, server):
    """Makes a copy of the project in an empty folder."""
    return lambda folder: Project(folder, validations, server)


@pytest.fixture
def project(tmp_path, new_project):
    return new_project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, new_project):
    """A finished run of the small config, for tests that only look."""
    project = new_project(tmp_path_factory.mktemp("finished"))
    project.log = project.snakemake("--show-failed-logs")
    return project
