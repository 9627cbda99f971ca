"""The state of what belongs to no batch: the checks of a study, the report, and the arrays of data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boundcheck.manifests import CHECK_PROVENANCE, PROVENANCE, SPEC_DIGEST, ResultError, digest_of, verify_all
from boundcheck.planning.plan import Plan


def later_stages(plan: Plan, root: Path) -> Iterator[tuple[str, str]]:
    """The checks and the report that are `damaged`, or `outdated`: of other settings or code; and what is wrong."""
    stages = [
        (f"check of {study}", root / "results" / plan.scale / study / CHECK_PROVENANCE, plan.check_code(study), study)
        for study in plan.studies
    ]
    for name, path, code, study in stages:
        if path.exists():
            try:
                manifest = verify_all(path, "check")
            except ResultError as error:
                yield "damaged", f"{name}  {error}"
                continue
            if manifest[SPEC_DIGEST] != digest_of(plan.check_spec(study)):
                yield "outdated", f"{name}  made from other settings or results"
            elif manifest["code"] != code:
                yield "outdated", f"{name}  made by another version of the code"
    path = root / "reports" / plan.scale / PROVENANCE
    if path.exists():
        try:
            verify_all(path, "report")
        except ResultError as error:
            yield "damaged", f"report  {error}"


def damaged_data(plan: Plan, root: Path) -> Iterator[tuple[str, str]]:
    """The arrays that are damaged, after reading all of them."""
    from boundcheck.data.arrays import read_arrays  # imports torch
    from boundcheck.data.errors import DataError

    for data, variant in plan.fetches.items():
        folder = root / "data" / data
        if (folder / "arrays.safetensors").exists() and variant["kind"] != "teacher":
            try:
                read_arrays(folder)
            except DataError as error:
                yield "damaged", f"data  {error}"
