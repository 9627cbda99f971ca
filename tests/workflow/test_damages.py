"""Whatever is damaged between the stages is refused, made again with equal content, or has no effect.

A few damages are tried in every run of the tests, a hundred by `pytest -m long tests/workflow/test_damages.py`.
"""

import random
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from boundcheck.manifests import file_digest

pytestmark = pytest.mark.xdist_group("finished")  # one worker, one finished run

DAMAGES = ("flip", "cut", "swap", "delete", "empty")
COMMAND = re.compile(r"to make it again: rm -rf (\S+), then the same snakemake command")
READ_AGAIN = ("--forcerun", "measure_batch", "check_study", "report")
COSTS = ["wall_seconds", "cpu_seconds"]


def read_by_a_stage(root):
    """All files that a stage reads, relative to the project's folder."""
    files = [*root.glob("data/*/*"), *root.glob("data/specs/*"), *root.glob("results/**/*")]
    return sorted(str(file.relative_to(root)) for file in files if file.is_file() and file.name[0] != ".")


def damage(root, name, kind, generator):
    """Damage a file; False where there is no other file of that name to swap it with."""
    file = root / name
    content = file.read_bytes()
    if kind == "flip":
        position = generator.randrange(len(content))
        flipped = content[position] ^ (1 << generator.randrange(8))
        file.write_bytes(content[:position] + bytes([flipped]) + content[position + 1 :])
    elif kind == "cut":
        file.write_bytes(content[: generator.randrange(len(content))])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "delete":
        file.unlink()
    else:
        like = [Path(other) for other in read_by_a_stage(root) if Path(other).suffix == file.suffix]
        others = [other for other in like if (root / other).read_bytes() != content]
        others = [other for other in others if other.name == file.name] or others
        if not others:
            return False
        file.write_bytes((root / generator.choice(others)).read_bytes())
    return True


def content(file):
    return file.read_bytes() if file.exists() else None


def meaning(root):
    """What the results say, without what every run has of its own: its times, and the digests of these."""
    said = {}
    for name in read_by_a_stage(root):
        if name.endswith("runs.parquet"):
            said[name] = pd.read_parquet(root / name).drop(columns=COSTS).to_json()
        elif name.endswith(".parquet"):
            said[name] = pd.read_parquet(root / name).to_json(double_precision=15)
        elif name.endswith(".safetensors"):
            said[name] = file_digest(root / name)
    said["verdicts"] = (root / "reports/small/tables/verdicts.csv").read_text()
    return said


def recovered(project, *arguments):
    """Run, and obey what a refusal says, until nothing is refused; how often something was."""
    for refusals in range(4):
        output = project.snakemake(*arguments, "--keep-going", expect=None)
        arguments = ()
        commands = set(COMMAND.findall(output))
        if "Error" not in output and "rror in rule" not in output:
            return refusals
        assert commands, output
        assert "Traceback" not in output, output
        for name in commands:
            file = project.folder / name
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    raise AssertionError(output)


def try_damage(finished, folder, number):
    """One random damage: what was done, and how the pipeline answered."""
    generator = random.Random(number)
    project = finished.copied(folder)
    name, kind = generator.choice(read_by_a_stage(project.folder)), DAMAGES[number % len(DAMAGES)]
    if not damage(project.folder, name, kind, generator):
        return f"{kind} of {name}: nothing to swap it with"
    damaged = content(project.folder / name)
    refusals = recovered(project)
    if content(project.folder / name) == damaged:  # Snakemake saw no change, for example in a folder of snapshots
        refusals += recovered(project, *READ_AGAIN)
    assert meaning(project.folder) == meaning(finished.folder), (
        f"{kind} of {name} (damage {number}) changed the results"
    )
    return f"{kind} of {name}: {f'refused {refusals} times, then ' if refusals else ''}equal results"


@pytest.mark.parametrize("number", [0, 3])
def test_a_damage_is_refused_or_mended(finished, tmp_path, number):
    print(try_damage(finished, tmp_path / "damaged", number))


@pytest.mark.long
@pytest.mark.parametrize("number", range(4, 104))
def test_a_hundred_damages_are_refused_or_mended(finished, tmp_path, number):
    print(try_damage(finished, tmp_path / "damaged", number))
