"""After an edit, a finished run plans the jobs that the edit reaches, and no others."""

from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("finished")  # one worker, one finished run

SGD = Path("results/small/gam/tiny_digits/tiny_mlp/sgd/seeds_0-2")
GAM = SGD.parents[1] / "gam_exact/seeds_0-2"
REPORT = {"report": 1}
CHECK = {"check_study": 1, **REPORT}
REWORDED = (
    "methods/gam.py",
    "training/train.py",
    "measuring/measure.py",
    "report/check.py",
    "report/report.py",
    "theory/gam/curvature.py",
)


def jobs(train, measure, **others):
    return {"train_batch": train, "measure_batch": measure, **CHECK, **others}


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    return finished.copied(tmp_path_factory.mktemp("reruns"))


@pytest.fixture
def edit(copied, tmp_path):
    """Change files of the finished run (None deletes one); afterwards they are as they were, times included."""
    changed = []

    def edit(name, change):
        path = copied.folder / name
        away = tmp_path / str(len(changed))
        path.rename(away)
        changed.append((path, away))
        if change:
            path.write_text(change(away.read_text()))

    yield edit
    for path, away in reversed(changed):
        away.rename(path)


def planned(project, *arguments):
    return {rule: count for rule, count in project.planned(*arguments).items() if rule != "all"}


def configured(change):
    """An edit of the overlay as a mapping."""

    def edited(text):
        config = yaml.safe_load(text)
        change(config, config["studies"]["gam"]["grid"][0])
        return yaml.safe_dump(config, sort_keys=False)

    return edited


def more_code(text):
    return f"{text}\n\nEDITED = True\n"


def reworded(text):
    """Python code with another docstring, comments and blank lines."""
    docstring, quotes, code = text[3:].partition('"""')
    assert text.startswith('"""')
    assert "\n\n\n" in code
    return f'"""In other words: {docstring}{quotes}' + code.replace("\n\n\n", "\n\n\n\n# why\n") + "\n\n# the end\n"


def test_nothing_for_a_touch_a_comment_a_blank_line_or_a_docstring(copied, edit):
    touched = [*copied.folder.glob("src/**/*.py"), *copied.folder.glob("workflow/**/*.smk")]
    reworded_ones = [copied.folder / "src/boundcheck" / name for name in REWORDED]
    for path in {*touched, *reworded_ones}:
        edit(path.relative_to(copied.folder), reworded if path in reworded_ones else lambda text: text)
    edit("config/small.yaml", lambda text: f"# a comment\n\n{text}")
    assert planned(copied) == {}


ANOTHER_CLAIM = {"kind": "theorem_holds", "check": "zeroth_below_first", "statement": "So it is.", "reference": "here"}
EDITS = {
    "a method": ("src/boundcheck/methods/gam.py", more_code, jobs(1, 1)),
    "the training loop": ("src/boundcheck/training/loop.py", more_code, jobs(2, 2)),
    "an analysis": ("src/boundcheck/analyses/flatness.py", more_code, {"measure_batch": 2, **CHECK}),
    "a theorem": ("src/boundcheck/theory/gam/curvature.py", more_code, CHECK),
    "a template": ("src/boundcheck/report/templates/style.css", lambda text: f"{text}\nb {{ color: red }}\n", REPORT),
    "a caption": ("workflow/report/page.rst", lambda text: f"{text}\nMore words.\n", {}),
    "a method's number": (
        "config/studies/gam.yaml",
        lambda text: text.replace("form: exact, rho: 0.1", "form: exact, rho: 0.2"),
        jobs(1, 1),
    ),
    "what a claim says": (
        "src/boundcheck/claims/gam/claims.yaml",
        lambda text: text.replace("GAM ends at a lower", "GAM ends at a smaller"),
        REPORT,
    ),
    "what decides a claim": (
        "config/small.yaml",
        configured(lambda config, block: config["studies"]["gam"].update(claims={"one": ANOTHER_CLAIM})),
        CHECK,
    ),
    "more seeds": ("config/small.yaml", configured(lambda config, block: block.update(seeds=6)), jobs(2, 2)),
    "one more method": (
        "config/small.yaml",
        configured(lambda config, block: block["methods"].append("sam")),
        jobs(1, 1),
    ),
    "one more dataset": (
        "config/small.yaml",
        configured(lambda config, block: block["datasets"].append("tiny_mnist")),
        jobs(2, 2, fetch=1),
    ),
    "how data are fetched": ("src/boundcheck/data/fetch.py", more_code, jobs(2, 2, fetch=1)),
    "a deleted dataset": ("data/digits/arrays.safetensors", None, {}),  # what was made of it stands
    "a deleted curve": (SGD / "curves.parquet", None, jobs(1, 1)),
    "a deleted measurement": (SGD / "measurements.parquet", None, {"measure_batch": 1, **CHECK}),
    "a deleted snapshot folder": (SGD / "snapshots", None, jobs(1, 1)),
    "deleted verdicts": ("results/small/gam/claims.parquet", None, CHECK),
    "a deleted figure folder": ("reports/small/figures", None, REPORT),
    "a deleted page": ("reports/small/index.html", None, REPORT),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_plans_what_it_reaches(copied, edit, name):
    file, change, expected = EDITS[name]
    edit(file, change)
    assert planned(copied) == expected


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("data", {**jobs(2, 2), "fetch": 1, "data": 1}),
        ("train", {**jobs(2, 2), "train": 1}),
        ("measure", {"measure_batch": 2, "measure": 1, **CHECK}),
        ("check", {**CHECK, "check": 1}),
        ("gam", {**CHECK, "gam": 1}),
        ("report", REPORT),
    ],
)
def test_a_stage_can_be_forced(copied, stage, expected):
    assert planned(copied, "--forcerun", stage) == expected


def test_the_plan_can_end_at_a_stage(copied, edit):
    edit("src/boundcheck/methods/gam.py", more_code)
    assert planned(copied, "--until", "train") == {"train_batch": 1, "train": 1}


def test_a_file_can_be_the_target(copied, edit):
    edit("src/boundcheck/training/loop.py", more_code)
    assert planned(copied, str(SGD / "curves.parquet")) == {"train_batch": 1}


def stamps(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_a_run_after_an_edit_leaves_the_other_cells_alone(finished, tmp_path):
    project = finished.copied(tmp_path)
    sgd, gam = stamps(tmp_path / SGD), stamps(tmp_path / GAM)
    path = tmp_path / "src/boundcheck/methods/gam.py"
    path.write_text(more_code(path.read_text()))
    project.snakemake()
    assert stamps(tmp_path / SGD) == sgd
    again = stamps(tmp_path / GAM)
    assert again.keys() == gam.keys()
    assert all(again[path][1] > gam[path][1] for path in gam)
    curves = tmp_path / GAM / "curves.parquet"
    assert again[curves][0] == gam[curves][0]
    assert planned(project) == {}
