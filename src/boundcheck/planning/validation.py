"""A validated plan: kinds are checked in one subprocess, whose answer is kept by the hash of config and code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boundcheck.atomic_files import write_text
from boundcheck.planning.config import Config, ConfigError
from boundcheck.planning.grid import make_plan
from boundcheck.planning.plan import Plan

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
    answer = _answer(plan, plan.sources.merged() if config is None else config)
    if answer["errors"]:
        raise ConfigError("\n".join(answer["errors"]))
    plan.skipped = answer["skipped"]
    for paper, cells in plan.skipped.items():
        for cell in cells:
            name = "/".join((paper, cell["dataset"], cell["model"], cell["method"]))
            plan.batches = {folder: batch for folder, batch in plan.batches.items() if batch.cell != name}
    return plan


def _answer(plan: Plan, config: Config) -> dict[str, Any]:
    merged = json.dumps(config, sort_keys=True)
    files = [str(file) for file in plan.sources.files]
    digest = hashlib.sha256(f"{files}{merged}{plan.kinds_code()}".encode())
    path = CACHE / f"validate-{digest.hexdigest()[:24]}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    request = path.with_suffix(f".{os.getpid()}.request.json")
    request.write_text(merged, encoding="utf-8")
    command = [sys.executable, "-m", "boundcheck", "validate", "--json", "--merged", str(request), "--configfile"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    request.unlink(missing_ok=True)
    if done.returncode:
        raise ConfigError(f"validation failed:\n{done.stderr}")
    answer = json.loads(done.stdout)
    if not answer["errors"]:
        _keep(path, done.stdout)
    return answer


def _keep(path: Path, answer: str) -> None:
    write_text(answer, path)
    for old in sorted(CACHE.glob("validate-*.json"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
