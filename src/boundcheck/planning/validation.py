"""A validated plan: a subprocess checks the kinds. Its answer is cached by the hash of config and code."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boundcheck.planning import schema
from boundcheck.planning.cache import keep_cached, read_cached
from boundcheck.planning.code_version import code_version
from boundcheck.planning.config import Config, ConfigError, Sources
from boundcheck.planning.grid import make_plan
from boundcheck.planning.plan import Plan
from boundcheck.planning.yaml_files import all_mistakes

KEPT = 50  # answers of each kind in the cache


def validated_plan(files: Sequence[str | Path], values: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a config, without the cells that make no sense. `Plan.skipped` lists these with the reason.

    Args:
        files: config files in the order of merging.
        values: the values of `--config`, which are merged last.

    Raises:
        ConfigError: one line for every mistake.
    """
    plan = make_plan(files, values, _validate_schema_once)
    answer = _answer(plan, files, values)
    if answer["errors"]:
        raise all_mistakes(answer["errors"])
    plan.skipped, plan.resolved, plan.claims = answer["skipped"], answer["cells"], answer["claims"]
    for study, cells in plan.skipped.items():
        for cell in cells:
            name = "/".join((study, cell["dataset"], cell["model"], cell["method"]))
            plan.batches = {folder: batch for folder, batch in plan.batches.items() if batch.cell != name}
    return plan


def _validate_schema_once(config: Config, sources: Sources) -> None:
    """As `validate_schema`, but a valid config is not checked again. The check takes most of the time of a plan."""
    name = _name("schema", config, code_version("boundcheck.planning.schema", files=[schema.FILE]))
    if read_cached(name) != "valid":
        schema.validate_schema(config, sources)
        keep_cached(name, "valid", KEPT)


def _answer(plan: Plan, files: Sequence[str | Path], values: Mapping[str, Any] | None) -> dict[str, Any]:
    name = _name("validate", plan.config, plan.kinds_code())
    kept = read_cached(name)
    if kept is not None:
        return kept
    command = [sys.executable, "-m", "boundcheck", "validate", "--json", "--values", json.dumps(dict(values or {}))]
    done = subprocess.run([*command, "--files", *map(str, files)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"validation failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if not answer["errors"]:
        keep_cached(name, answer, KEPT)
    return answer


def _name(kind: str, config: Config, code: str) -> str:
    """The name in the cache for a config and a version of the code."""
    digest = hashlib.sha256(f"{json.dumps(config, sort_keys=True)}{code}".encode())
    return f"{kind}-{digest.hexdigest()[:24]}.json"
