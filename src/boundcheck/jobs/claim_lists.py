"""The lists of claims that `boundcheck validate` and `boundcheck claims --cells` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from boundcheck.planning.config import ConfigError
from boundcheck.report.wording import plural


def claims_lines(
    selected: Mapping[str, Mapping[str, Mapping[str, Any]]], with_cells: bool, names: Sequence[str] = ()
) -> Iterator[str]:
    """One line for each claim: its number of cells and seeds, and the reason if it can never be decided.

    Args:
        selected: by study and claim, from `selections`.
        with_cells: list the cells and their baselines too.
        names: only these studies and claims (patterns are allowed); by default all.

    Raises:
        ConfigError: no study or claim has one of the names.
    """
    known = {name for study, claims in selected.items() for name in (study, *claims)}
    for pattern in names:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(f"got {pattern!r}; allowed: {', '.join(sorted(known))}, or patterns such as *sharpness*")
    for study, claims in selected.items():
        wanted = {name: claims[name] for name in claims if not names or _is_named((study, name), names)}
        if wanted:
            yield f"{study}:"
            yield from _study_lines(wanted, with_cells)


def _is_named(own: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in own for pattern in patterns)


def _study_lines(claims: Mapping[str, Mapping[str, Any]], with_cells: bool) -> Iterator[str]:
    for name, selected in claims.items():
        seeds = f" of {plural(selected['seeds'], 'seed', 'seeds')}" if selected["seeds"] else ""
        never = f"; never decided: {selected['never']}" if selected["never"] else ""
        alone = sum(selected["baselines"].get(cell, cell) == "" for cell in selected["cells"])
        without = f", {alone} without a baseline" if alone and not never else ""
        yield f"  {name}: {plural(len(selected['cells']), 'cell', 'cells')}{seeds}{without}{never}"
        for cell in selected["cells"] if with_cells else ():
            beside = f" against {selected['baselines'][cell] or 'nothing'}" if cell in selected["baselines"] else ""
            yield f"    {cell}{beside}"
