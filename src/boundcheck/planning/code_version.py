"""Code versions: a hash of a module and everything that it imports from this package.

The hash is computed from syntax trees without docstrings and registry tables. So a comment, a docstring or a new entry
of a registry changes no version. An edit changes only the versions of modules that import the edited module, directly
or through others.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from boundcheck.planning.cache import FOLDER, keep_cached, read_cached

SOURCE = Path(__file__).resolve().parents[2]
KEPT = 2000  # parsed modules
VERSIONS = 10  # of Python and of this file, whose results are kept
_parsed_anew: set[str] = set()


def share_source() -> None:
    """Put the folder of this package first in PYTHONPATH, so that jobs in other environments find the package."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(SOURCE) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *filter(None, paths)])


def code_version(*modules: str, files: Iterable[Path] = ()) -> str:
    """A hash (16 hex digits) of the named modules, everything they import inside the package, and `files`.

    Raises:
        ModuleNotFoundError: a name is not a module of this package.
    """
    digest = hashlib.sha256()
    for module, version in reached_from(*modules).items():
        digest.update(f"{module}:{version};".encode())
    for file in sorted(files):
        digest.update(f"{file.name}:".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def reached_from(*modules: str) -> Mapping[str, str]:
    """Every module that `code_version` hashes for `modules`, with the hash of its own code."""
    versions = {m: _read(m)[0] for m in sorted({reached for module in modules for reached in _closure(module)})}
    _keep_parsed()
    return versions


def _file(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _read(module: str) -> tuple[str, frozenset[str]]:
    """The hash of a module's own code, and the modules of this package that it imports."""
    file = _file(module)
    if file is None:
        raise ModuleNotFoundError(f"{module} is not a module under {SOURCE}")
    content = file.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    if key not in _parsed():
        _parsed()[key] = _parse(content.decode("utf-8"))
        _parsed_anew.add(key)
    version, imports = _parsed()[key]
    return version, frozenset(name for name in imports if _file(name))


def _parse(text: str) -> tuple[str, list[str]]:
    """The hash of a module's code, and the names in this package that it may import."""
    tree = ast.parse(text)
    imports: set[str] = set()
    tree.body = [statement for statement in tree.body if not _is_for_types(statement)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    tree.body = [statement for statement in tree.body if not _is_registry(statement)]
    version = hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]
    return version, sorted(name for name in imports if name.startswith("boundcheck"))


@cache
def _parsed() -> dict[str, tuple[str, list[str]]]:
    """The cached results of `_parse`, by the sha256 of the text. Parsing takes most of the time of a dry run."""
    return read_cached(_store()) or {}


def _keep_parsed() -> None:
    """Write new results of `_parse` to the cache, if Snakemake has a folder here."""
    if _parsed_anew and FOLDER.parent.is_dir():
        keep_cached(_store(), dict(list(_parsed().items())[-KEPT:]), VERSIONS)
        _parsed_anew.clear()


def _store() -> str:
    """The file of the cache. Its name depends on the version of Python and on this file, which decide the hashes."""
    own = hashlib.sha256(f"{sys.version}{Path(__file__).read_text(encoding='utf-8')}".encode()).hexdigest()[:16]
    return f"code-{own}.json"


def _is_for_types(statement: ast.stmt) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, whose body never runs."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring or another string on its own, which has no effect."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_registry(statement: ast.stmt) -> bool:
    """Whether a statement is a registry: `NAME: dict[str, str] = {...}`."""
    return (
        isinstance(statement, ast.AnnAssign)
        and ast.unparse(statement.annotation) == "dict[str, str]"
        and isinstance(statement.target, ast.Name)
        and statement.target.id.isupper()
    )


@cache
def _closure(module: str) -> frozenset[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += _read(current)[1]
            parent = current.rpartition(".")[0]
            if "." in parent:  # the packages' own __init__, but not boundcheck's: it only holds the version
                waiting.append(parent)
    return frozenset(seen)
