"""Checks that the command line has `--configfile` only once, followed by all files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from boundcheck.planning.yaml_files import ConfigError

OPTION = "--configfiles"  # Snakemake's name; it also accepts `--configfile` and shorter forms down to SHORTEST
SHORTEST = "--configf"


def refuse_repeated_configfile(words: Sequence[str]) -> None:
    """Refuse a command with two `--configfile`, because Snakemake would ignore all but the last one.

    Raises:
        ConfigError: `--configfile` is repeated; the message shows the correct form.
    """
    options = [position for position, word in enumerate(words) if _is_configfile(word)]
    if len(options) > 1:
        files = [file for position in options for file in _files(words[position], words[position + 1 :])]
        raise ConfigError(
            f"--configfile: got it {len(options)} times, and only the last would be used; "
            f"allowed: once, as --configfile {' '.join(files)}"
        )


def _is_configfile(word: str) -> bool:
    name = word.partition("=")[0]
    return name.startswith(SHORTEST) and OPTION.startswith(name)


def _files(option: str, after: Iterable[str]) -> list[str]:
    """The files of one option: the text after its `=`, or all words up to the next option."""
    _, has_value, value = option.partition("=")
    return [value] if has_value else list(takewhile(lambda word: not word.startswith("-"), after))
