"""The house is as drawn: which package may import which."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "boundcheck"

# From the ground up. A module may import from its own package and from lower levels; on the ground, from each other.
LEVELS = (
    {
        *("contracts", "optional_members", "verdicts", "registry", "settings", "setting_words"),
        *("seeds", "tables", "atomic_files", "manifests", "plain_text"),
    },
    {"curvature", "planning"},
    {"theory"},
    {"data", "models", "objectives"},
    {"methods"},
    {"analyses", "claims", "callbacks"},
    {"cells"},
    {"training", "measuring", "report"},
    {"jobs"},
    {"__main__"},
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_WORDS = ("torch.load(", "torch.save(", "allow_pickle=True", "read_pickle", "to_pickle")


def package_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path):
    """Every module that a file imports, also inside functions; a relative import is named with its dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "boundcheck" else [module]


def offences():
    for path in MODULES:
        own = package_of(path)
        for module in imported_modules(path):
            if module.startswith("."):
                yield f"{path.relative_to(SOURCE)}: relative import"
            elif module.startswith("boundcheck."):
                other = module.split(".")[1]
                is_below = LEVEL[other] < LEVEL[own] or LEVEL[other] == LEVEL[own] == 0
                if other != own and not is_below:
                    yield f"{path.relative_to(SOURCE)} ({own}) imports {other}"


def test_imports_point_downwards():
    assert list(offences()) == []


def test_every_package_has_a_level():
    assert {package_of(path) for path in MODULES} == set(LEVEL)


def test_planning_imports_no_torch():
    heavy = {"torch", "torchvision", "pandas", "scipy", "sklearn"}
    for path in (SOURCE / "planning").glob("*.py"):
        assert not {module.partition(".")[0] for module in imported_modules(path)} & heavy, path


def test_no_pickle_anywhere():
    for path in MODULES:
        assert not {module.partition(".")[0] for module in imported_modules(path)} & UNSAFE_MODULES, path
        text = path.read_text(encoding="utf-8")
        assert not [word for word in UNSAFE_WORDS if word in text], path


def test_no_cupboards():
    for path in SOURCE.rglob("*"):
        assert path.stem not in {"utils", "helpers", "common", "misc"}, path
