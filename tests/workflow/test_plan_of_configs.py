"""Dry runs of every config, the lint tools, and what a job imports."""

import subprocess
import sys

import pytest
import yaml

from boundcheck.planning.config import Sources
from boundcheck.planning.grid import make_plan

CONFIGS = ["config.yaml", "test.yaml", "paper.yaml", "cifar.yaml"]


def files(root, name):
    return [root / "config/config.yaml", *([root / "config" / name] if name != "config.yaml" else [])]


@pytest.mark.parametrize("name", CONFIGS)
def test_job_counts_are_cells_times_batches(project, root, name):
    plan = make_plan(files(root, name))
    counts = project.planned(configs=[f"config/{name}"])
    assert counts["train_batch"] == len(plan.batches) > 0
    assert counts["measure_batch"] == sum(bool(batch.analyses) for batch in plan.batches.values()) > 0
    assert counts["fetch"] == len(plan.fetches)
    assert counts["check_study"] == len(plan.studies)
    assert counts["report"] == counts["all"] == 1


@pytest.mark.parametrize("name", ["config.yaml", "test.yaml"])
def test_no_paper_has_more_than_80_jobs_at_the_small_scales(root, name):
    plan = make_plan(files(root, name))
    for study in plan.studies:
        batches = plan.of_study(study)
        datasets = {data for batch in batches for data in batch.data}
        assert len(batches) + sum(bool(batch.analyses) for batch in batches) + len(datasets) + 1 <= 80, study


@pytest.mark.parametrize("name", CONFIGS[1:])
def test_an_overlay_leaves_no_cell_of_the_default_behind(root, name):
    overlay = Sources([root / "config" / name]).merged()
    plan = make_plan(files(root, name))
    assert plan.scale == overlay["name"] != "default"
    assert set(plan.studies) == {key for key, study in overlay["studies"].items() if study.get("grid")}
    for key in plan.studies:
        named = [block["methods"] for block in overlay["studies"][key]["grid"]]
        methods = set(plan.scopes[key].resolve("methods", [method for block in named for method in block]))
        assert {batch.method for batch in plan.of_study(key)} == methods


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ("data", {"fetch"}),
        ("train", {"fetch", "train_batch"}),
        ("measure", {"fetch", "train_batch", "measure_batch"}),
        ("check", {"fetch", "train_batch", "measure_batch", "check_study"}),
        ("gam", {"fetch", "train_batch", "measure_batch", "check_study"}),
        ("report", {"fetch", "train_batch", "measure_batch", "check_study"}),
    ],
)
def test_named_targets(project, target, rules):
    assert set(project.planned(target)) == rules | {target}


def test_a_users_mistake_shows_no_traceback(project):
    project.edit("config/small.yaml", "epochs: 2", "epochs: -2")
    output = project.snakemake("-n", expect=1)
    assert "config/small.yaml: studies.gam.grid[0].training.epochs: got -2" in output
    assert "Traceback" not in output


def test_a_number_that_a_method_rejects_stops_before_the_plan(project):
    project.edit("config/studies/gam.yaml", "form: exact, rho: 0.1", "form: exact, rho: -0.1")
    output = project.snakemake("-n", expect=1)
    assert "config/studies/gam.yaml: methods.gam_exact.rho: got -0.1; allowed: a number >= 0" in output
    assert "Traceback" not in output
    assert not (project.folder / "results").exists()


def test_an_unknown_kind_lists_the_known_ones(project):
    project.edit("config/studies/gam.yaml", "mlp: {kind: mlp", "mlp: {kind: mpl")
    output = project.snakemake("-n", expect=1)
    assert "config/studies/gam.yaml: models.mlp: unknown kind 'mpl'; allowed: " in output
    assert "resnet" in output


def test_a_repeated_configfile_is_refused_with_the_right_form(project):
    output = project.run(
        "snakemake",
        "-n",
        "--cores",
        "1",
        "--configfile",
        "config/test.yaml",
        "--configfile",
        "config/small.yaml",
        expect=1,
    )
    assert "allowed: once, as --configfile config/test.yaml config/small.yaml" in output
    assert "Traceback" not in output


def test_a_value_of_the_command_line_is_blamed_on_no_file(project):
    output = project.snakemake("-n", "--config", "studies={gam: {methods: {sgd: {lr: -1}}}}", expect=1)
    assert "config: --config: studies.gam.methods.sgd.lr: got -1; allowed" in output


def test_a_dry_run_writes_no_spec(project):
    project.snakemake("-n")
    assert not (project.folder / "results").exists()
    assert not (project.folder / "data").exists()


def test_planning_imports_neither_torch_nor_pandas(root):
    code = (
        "import sys, boundcheck.planning.validation, boundcheck.jobs.devices;"
        "sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_training_imports_only_what_it_uses(root):
    code = (
        "import sys, boundcheck.training.train\n"
        "from boundcheck.registry import build\n"
        "from boundcheck.models import MODELS\n"
        "build(MODELS, {'kind': 'mlp', 'depth': 1, 'width': 4})\n"
        "print(sorted({'pandas', 'scipy', 'sklearn', 'torchvision', 'matplotlib', 'seaborn'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["snakemake", "--lint"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_tools_find_nothing(root, command):
    module = {"snakefmt": "snakefmt.snakefmt"}.get(command[0], command[0])
    done = subprocess.run(
        [sys.executable, "-m", module, *command[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_conda_file_has_the_pins_of_the_lock(root):
    code = "import conda_from_lock as c; print(c.conda_environment((c.ENVS / 'requirements.lock').read_text()), end='')"
    written = subprocess.check_output([sys.executable, "-c", code], cwd=root / "envs", text=True)
    assert (root / "envs/boundcheck.yaml").read_text() == written
    assert yaml.safe_load(written)["dependencies"][0] == "python=3.11"


def test_no_lock_names_a_registry(root):
    for path in (root / "envs").iterdir():
        if path.is_file():
            assert "://" not in path.read_text(), path
