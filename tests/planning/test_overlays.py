"""`--configfile` is given once, and its files can be read before Snakemake reads them."""

import os

import pytest

from boundcheck.jobs.command_line import main
from boundcheck.planning.config import ConfigError
from boundcheck.planning.overlays import check_config_files, refuse_repeated_configfile


@pytest.mark.parametrize(
    "command",
    [
        "snakemake --configfile a.yaml -n --configfile b.yaml c.yaml --cores 1",
        "snakemake --configfile=a.yaml --configfiles b.yaml c.yaml",
        "boundcheck validate --configf a.yaml b.yaml --configfile c.yaml",
    ],
)
def test_two_of_them_are_refused_with_the_right_form(command):
    with pytest.raises(ConfigError, match=r"got it 2 times.*--configfile a\.yaml b\.yaml c\.yaml$"):
        refuse_repeated_configfile(command.split())


@pytest.mark.parametrize(
    "command", ["snakemake --configfile a.yaml b.yaml --config name=x --config seeds_per_job=1", "snakemake -n", ""]
)
def test_one_is_right(command):
    refuse_repeated_configfile(command.split())


def test_the_commands_of_the_package_refuse_it(capsys):
    assert main(["status", "--configfile", "a.yaml", "--configfile", "b.yaml"]) == 1
    assert "allowed: once, as --configfile a.yaml b.yaml" in capsys.readouterr().err


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run a command of Snakemake in an empty folder, as far as its config files."""

    def command(words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", words.split())
        check_config_files()

    return command


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "it is a pipe or a device; allowed: a YAML file"),
        (lambda path: path.write_text("a: &a [*a]"), "line 1: a[0]: it holds itself, through an alias (`*name`)"),
        (lambda path: path.write_text("a: 1\na: 2"), "not valid YAML: the key 'a' occurs twice, in lines 1 and 2"),
        (lambda path: path.write_text("__use_yte__: true"), "__use_yte__: unknown key; a config is no template"),
    ],
)
@pytest.mark.parametrize(
    "form", ["--configfile good.yaml own.yaml -n", "--configfile=own.yaml", "--configfiles own.yaml"]
)
def test_a_file_that_snakemake_could_not_read_ends_the_command_in_one_line(command, tmp_path, make, problem, form):
    (tmp_path / "good.yaml").write_text("name: good")
    make(tmp_path / "own.yaml")
    with pytest.raises(SystemExit) as leaving:
        command(f"snakemake {form}")
    assert problem in str(leaving.value)
    assert str(leaving.value).startswith("config: own.yaml: ")
    assert len(str(leaving.value).splitlines()) == 1


def test_the_default_config_is_read_first_too(command, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("name: 2020-01-01")
    with pytest.raises(SystemExit, match=r"^config: config/config\.yaml: line 1: name: got '2020-01-01'"):
        command("snakemake -n")


def test_good_files_go_on(command, tmp_path):
    (tmp_path / "own.yaml").write_text("name: good")
    command("snakemake -n --configfile own.yaml --config name=x")
    command("snakemake")


@pytest.mark.parametrize("profile", ["profiles/default", "workflow/profiles/slurm", "workflow/profiles/local-gpu"])
def test_every_profile_reads_them(root, profile):
    assert "- check_config_files()" in (root / profile / "profile.yaml").read_text()


def test_control_characters_of_a_config_do_not_reach_the_terminal(capsys, tmp_path):
    (tmp_path / "own.yaml").write_text('"\\e]0;owned\\a\\u202e": 1')
    assert main(["validate", "--files", str(tmp_path / "own.yaml")]) == 1
    assert "\\x1b]0;owned\\x07\\u202e: unknown key" in capsys.readouterr().err


def test_no_control_character_of_any_error_reaches_the_terminal(capsys, tmp_path):
    assert main(["check", "--spec", str(tmp_path / "a\x1b[31m\u202e.json"), "--results", str(tmp_path)]) == 1
    said = "".join(capsys.readouterr())
    assert "a\\x1b[31m\\u202e.json does not exist" in said
    assert "\x1b" not in said
