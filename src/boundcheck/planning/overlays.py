"""Overlays on the command line: `--configfile` is given once, with all files behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from boundcheck.planning.yaml_files import ConfigError

OPTION = "--configfiles"  # as Snakemake has it; `--configfile`, and shorter forms down to SHORTEST, mean the same
SHORTEST = "--configf"


def refuse_repeated_configfile(words: Sequence[str]) -> None:
    """Refuse a command with two `--configfile`: all but the last one would be ignored.

    Raises:
        ConfigError: with the right form.
    """
    options = [position for position, word in enumerate(words) if _is_configfile(word)]
    if len(options) > 1:
        files = [file for position in options for file in _files(words[position], words[position + 1 :])]
        raise ConfigError(
            f"--configfile: got it {len(options)} times, of which only the last would count; "
            f"allowed: once, as --configfile {' '.join(files)}"
        )


def _is_configfile(word: str) -> bool:
    name = word.partition("=")[0]
    return name.startswith(SHORTEST) and OPTION.startswith(name)


def _files(option: str, after: Iterable[str]) -> list[str]:
    """The files of one option: behind its `=`, or all words up to the next option."""
    _, has_value, value = option.partition("=")
    return [value] if has_value else list(takewhile(lambda word: not word.startswith("-"), after))
