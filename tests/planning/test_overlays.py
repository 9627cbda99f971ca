"""`--configfile` is given once."""

import pytest

from boundcheck.jobs.command_line import main
from boundcheck.planning.config import ConfigError
from boundcheck.planning.overlays import refuse_repeated_configfile


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
