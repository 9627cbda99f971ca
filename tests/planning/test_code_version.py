"""The code version changes with what decides a result, and with nothing else."""

import os

import pytest

from boundcheck.planning import code_version as module


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "boundcheck"
    (root / "methods").mkdir(parents=True)
    files = {
        "__init__.py": "__version__ = '1'\n",
        "methods/__init__.py": 'METHODS: dict[str, str] = {"a": "boundcheck.methods.a:A"}\n',
        "methods/a.py": '"""Doc."""\nfrom boundcheck.methods.shared import twice\n\n\ndef a(x):\n    return twice(x)\n',
        "methods/b.py": "def b(x):\n    return x\n",
        "methods/shared.py": "def twice(x):\n    return 2 * x\n",
        "train.py": "import boundcheck.methods\n\ndef f():\n    from boundcheck.lazy import late\n    return late\n",
        "lazy.py": "late = 1\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    monkeypatch.setattr(module, "SOURCE", tmp_path)
    return root


def versions():
    module._read.cache_clear()
    module._closure.cache_clear()
    module.reached_from.cache_clear()
    return {
        "a": module.code_version("boundcheck.train", "boundcheck.methods.a"),
        "b": module.code_version("boundcheck.train", "boundcheck.methods.b"),
    }


EDITS = {
    "a comment": ("methods/a.py", lambda s: s + "# why\n", set()),
    "a blank line": ("methods/a.py", lambda s: s.replace("\n\n\ndef", "\n\n\n\n\ndef"), set()),
    "a docstring": ("methods/a.py", lambda s: s.replace("Doc.", "Better doc."), set()),
    "a new docstring": ("methods/a.py", lambda s: s.replace("a(x):\n", 'a(x):\n    """New."""\n'), set()),
    "a registry line": ("methods/__init__.py", lambda s: s.replace("{", '{"b": "boundcheck.methods.b:B", '), set()),
    "the version number": ("__init__.py", lambda s: "__version__ = '2'\n", set()),
    "one method": ("methods/b.py", lambda s: s.replace("return x", "return -x"), {"b"}),
    "what one method imports": ("methods/shared.py", lambda s: s.replace("2", "3"), {"a"}),
    "the shared stage": ("train.py", lambda s: s.replace("return late", "return late + 1"), {"a", "b"}),
    "a late import of it": ("lazy.py", lambda s: s.replace("1", "2"), {"a", "b"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_those_that_reach_it(package, edit):
    name, change, expected = EDITS[edit]
    before = versions()
    path = package / name
    path.write_text(change(path.read_text()))
    after = versions()
    assert {key for key in before if before[key] != after[key]} == expected


def test_files_count_by_content(package, tmp_path):
    template = tmp_path / "page.html"
    template.write_text("<p>")
    before = module.code_version("boundcheck.train", files=[template])
    template.touch()
    assert module.code_version("boundcheck.train", files=[template]) == before
    template.write_text("<b>")
    assert module.code_version("boundcheck.train", files=[template]) != before


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        module.code_version("boundcheck.nothing")


def test_jobs_of_any_environment_find_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    module.share_source()
    module.share_source()
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(module.SOURCE), "/elsewhere"]
    monkeypatch.delenv("PYTHONPATH")
    module.share_source()
    assert os.environ["PYTHONPATH"] == str(module.SOURCE)
