"""A version of the code that decides a result: a hash over a module and all that it imports from this package.

Hashed are syntax trees without docstrings and without registry tables, so that a comment, a docstring or a new line in
a registry changes no version, and an edit changes the versions of just those modules that reach it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]


def code_version(*modules: str, files: Iterable[Path] = ()) -> str:
    """16 hex digits for the named modules, everything they import inside the package, and the bytes of `files`.

    Raises:
        ModuleNotFoundError: a name that is not a module of this package.
    """
    digest = hashlib.sha256()
    for module, version in reached_from(*modules).items():
        digest.update(f"{module}:{version};".encode())
    for file in sorted(files):
        digest.update(f"{file.name}:".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def reached_from(*modules: str) -> dict[str, str]:
    """Every module that `code_version` hashes for these, with the hash of its own code."""
    return {m: _read(m)[0] for m in sorted({reached for module in modules for reached in _closure(module)})}


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
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    tree.body = [statement for statement in tree.body if not _is_registry(statement)]
    own = frozenset(name for name in imports if name.startswith("boundcheck") and _file(name))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], own


def _is_text(statement: ast.stmt) -> bool:
    """A docstring, or a string that stands alone, which does nothing either."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_registry(statement: ast.stmt) -> bool:
    """`NAME: dict[str, str] = {...}` at the top of a package."""
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
