"""Checks Snakemake's command line: `--configfile` stands in it only once, and its files can be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from boundcheck.plain_text import plain
from boundcheck.planning.yaml_files import ConfigError, read_file

CONFIG = Path("config/config.yaml")
OPTION = "--configfiles"  # Snakemake's name; it also accepts `--configfile` and shorter forms down to SHORTEST
SHORTEST = "--configf"
TEMPLATE = "__use_yte__"  # a key by which Snakemake would run the Python code in a config


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


def check_config_files() -> None:
    """Read the config files of this command before Snakemake does, and leave with one line where that fails.

    The profiles call it. Snakemake itself waits for a pipe, shows a traceback, or replaces all aliases at any length.
    """
    try:
        refuse_repeated_configfile(sys.argv)
        files = [file for position, word in enumerate(sys.argv) for file in _files(word, sys.argv[position + 1 :])]
        for path in ([CONFIG] if CONFIG.exists() else []) + [Path(file) for file in files]:
            if TEMPLATE in read_file(path):
                raise ConfigError(f"{path}: {TEMPLATE}: unknown key; a config is no template")
    except ConfigError as error:
        sys.exit(plain(f"config: {error}"))


def _is_configfile(word: str) -> bool:
    name = word.partition("=")[0]
    return name.startswith(SHORTEST) and OPTION.startswith(name)


def _files(option: str, after: Iterable[str]) -> list[str]:
    """The files of `--configfile`: the text after its `=`, or all words up to the next option; of other words, none."""
    if not _is_configfile(option):
        return []
    _, has_value, value = option.partition("=")
    return [value] if has_value else list(takewhile(lambda word: not word.startswith("-"), after))
