"""A validated plan: kinds are checked in one subprocess, whose answer is kept by the hash of config and code."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boundcheck.code_version import SOURCE
from boundcheck.config import Config, ConfigError
from boundcheck.plan import Plan, make_plan

CACHE = Path(".snakemake/boundcheck")
KEPT = 50  # answers in the cache


def validated_plan(files: Sequence[str | Path], config: Config | None = None) -> Plan:
    """The plan of a config without the cells that make no sense, which `Plan.skipped` lists with the reason.

    Args:
        files: config files in the order of merging, for the messages.
        config: the merged config, where it holds more than the files (--config).

    Raises:
        ConfigError: every mistake that was found, one a line.
    """
    plan = make_plan(files, config)
    answer = _answer(plan.sources.files, plan.sources.merged() if config is None else config)
    if answer["errors"]:
        raise ConfigError("\n".join(answer["errors"]))
    plan.skipped = answer["skipped"]
    for paper, cells in plan.skipped.items():
        for cell in cells:
            name = "/".join((paper, cell["dataset"], cell["model"], cell["method"]))
            plan.batches = {folder: batch for folder, batch in plan.batches.items() if batch.cell != name}
    return plan


def _answer(files: Sequence[Path], config: Config) -> dict[str, Any]:
    merged = json.dumps(config, sort_keys=True)
    digest = hashlib.sha256(f"{[str(file) for file in files]}{merged}".encode())
    for source in sorted(SOURCE.glob("boundcheck/**/*.py")):
        digest.update(source.read_bytes())
    path = CACHE / f"validate-{digest.hexdigest()[:24]}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    request = path.with_suffix(".request.json")
    request.write_text(merged, encoding="utf-8")
    command = [sys.executable, "-m", "boundcheck", "validate", "--json", "--merged", str(request), "--configfile"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    request.unlink()
    if done.returncode:
        raise ConfigError(f"validation failed:\n{done.stderr}")
    temporary = path.with_suffix(".part")
    temporary.write_text(done.stdout, encoding="utf-8")
    temporary.replace(path)
    for old in sorted(CACHE.glob("validate-*.json"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return json.loads(done.stdout)
