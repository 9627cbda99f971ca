"""The house is as drawn: which package may import which."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"

# From the ground up. A module may import from its own package and from lower levels, not from its own level.
LEVELS = [
    {
        "contracts",
        "verdicts",
        "registry",
        "seeds",
        "tables",
        "code_version",
        "devices",
        "config",
        "origin",
        "whole",
        "quick_plan",
        "forked_job",
    },
    {"job_code"},
    {"plan"},
    {"grid"},
    {"validation"},
    {"curvature", "theory"},
    {"data", "models", "objectives"},
    {"methods"},
    {"analyses", "claims", "callbacks"},
    {"stages"},
    {"command_line"},
    {"fork_server"},
    {"__main__"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
MODULES = sorted(
    path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or path.parent.name != "boundcheck"
)


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE / "boundcheck").parts[0].removesuffix(".py")


def imported_packages(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "boundcheck"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("boundcheck.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path):
    own = package_of(path)
    for other in imported_packages(path):
        # the ground level holds single modules without an order of their own
        allowed = other == own or LEVEL[other] < LEVEL[own] or LEVEL[own] == LEVEL[other] == 0
        assert allowed, f"{path.relative_to(SOURCE)} ({own}) must not import {other}"


def test_every_package_has_a_level():
    assert {package_of(path) for path in MODULES} == set(LEVEL)


def test_no_pickle_anywhere():
    for path in MODULES:
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        assert not names & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, path
        for word in ("torch.load(", "torch.save(", "allow_pickle=True", "read_pickle", "to_pickle"):
            assert word not in path.read_text(), path


def test_no_cupboards():
    for path in SOURCE.rglob("*"):
        assert path.stem not in {"utils", "helpers", "common", "misc"}, path
