"""Hostile configs through the real commands: one line of ours, no traceback, nothing is waited for."""

import os

import pytest

GRID = "{datasets: [tiny_digits], models: [tiny_mlp], methods: [sgd], seeds: 3, training: {epochs: %s}}"
SMALL = f"name: own\nstudies:\n  gam:\n    grid:\n      - {GRID}\n"
MAKERS = {
    "a pipe": (os.mkfifo, "config/own.yaml: cannot be read: it is a pipe or a device; allowed: a YAML file"),
    "aliases": (
        lambda path: path.write_text(
            "x0: &x0 [1, 1]\n" + "".join(f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}]\n" for i in range(1, 40)) + SMALL % 2
        ),
        "config/own.yaml: line 15: x14: it holds more than 50,000 values once its aliases (`*name`) are replaced",
    ),
    "400 digits": (
        lambda path: path.write_text(SMALL % ("9" * 400)),
        "config/own.yaml: line 5: studies.gam.grid[0].training.epochs: got a number of 400 digits",
    ),
    "a key that steers": (
        lambda path: path.write_text(SMALL % 2 + '"\\e]0;x\\a\\e[2J": 1\n'),
        "config/own.yaml: \\x1b]0;x\\x07\\x1b[2J: unknown key",
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_commands_end_in_one_line(project, name):
    make, line = MAKERS[name]
    make(project.folder / "config/own.yaml")
    said = project.boundcheck("validate", "--configfile", "config/test.yaml", "config/own.yaml", expect=1, timeout=60)
    assert line in said
    assert len(said.splitlines()) == 1
    said = project.run("snakemake", "-n", "--configfile", "config/test.yaml", "config/own.yaml", expect=1, timeout=60)
    assert f"config: {line}" in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert len(said.splitlines()) <= 5  # Snakemake names its profile, and where an error of the plan was raised


def test_a_config_does_not_run_code(project):
    (project.folder / "config/own.yaml").write_text(f'__use_yte__: true\n?open("owned", "w"): 1\n{SMALL % 2}')
    said = project.run("snakemake", "-n", "--configfile", "config/own.yaml", expect=1)
    assert said.splitlines()[-1] == "config: config/own.yaml: __use_yte__: unknown key; a config is no template"
    assert not (project.folder / "owned").exists()


def test_a_source_that_does_not_exist_is_a_warning_of_validate(project):
    dataset = "datasets: {mine: {kind: image_folder, path: nowhere}}\n"
    (project.folder / "config/own.yaml").write_text(dataset + SMALL.replace("tiny_digits", "mine") % 2)
    said = project.boundcheck("validate", "--configfile", "config/test.yaml", "config/own.yaml")
    problem = "got 'nowhere', which does not exist; allowed: the folder or archive of the images"
    assert f"warning: config/own.yaml: datasets.mine.path: {problem}" in said
