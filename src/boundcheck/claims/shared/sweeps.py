"""One-factor sweeps: runs whose models or datasets differ in one setting only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boundcheck.claims.shared.rows import RUN

if TYPE_CHECKING:
    import pandas as pd

LABELS = {  # of settings whose name says less
    "train_size": "training examples n",
    "width": "width m",
    "depth": "depth L",
    "half_width": "half-width c of the initial weights",
}


def sweep_rows(rows: pd.DataFrame, runs: pd.DataFrame, setting: str, least: int = 3) -> pd.DataFrame:
    """Rows of the groups of runs that differ in one setting and have several values of it.

    Args:
        rows: tidy rows with the keys of runs.
        runs: the table of runs; those not done are left out.
        setting: of models (`width`), or of datasets (`dataset.train_size`).
        least: how many values a group must have to count as a sweep.

    Returns: the rows with the columns `x`, the setting's value, and `group`, what is common to the others in words.
    """
    import pandas as pd

    part, _, name = setting.rpartition(".")
    swept = part or "model"
    found = []
    for run in runs[runs["status"] == "done"].to_dict("records"):
        common = dict(run[f"{swept}_spec"])
        x = common.pop(name, None)
        if isinstance(x, int | float) and not isinstance(x, bool):
            names = {key: run[key] for key in ("dataset", "model", "method") if key != swept}
            common = names | {key: value for key, value in common.items() if key != "name"}
            found.append((*(run[key] for key in RUN), float(x), json.dumps(common, sort_keys=True)))
    frame = pd.DataFrame(found, columns=[*RUN, "x", "group"])
    frame = frame[frame["group"].map(frame.groupby("group")["x"].nunique()) >= least]
    labels = describe([json.loads(text) for text in sorted(set(frame["group"]))])
    return rows.merge(frame.assign(group=frame["group"].map(labels)), on=[*RUN])


def describe(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A short name for each of several settings, by its JSON: the values in which they differ."""
    names = sorted({name for setting in settings for name in setting})
    differing = [n for n in names if len({json.dumps(s.get(n)) for s in settings}) > 1] or ["method"]
    described = {}
    for setting in settings:
        words = [_word(name, setting[name]) for name in differing if name in setting]
        described[json.dumps(setting, sort_keys=True)] = ", ".join(words) or "default"
    return described


def setting_label(setting: str) -> str:
    """A setting (`width`, `dataset.train_size`) as an axis has it."""
    name = setting.rpartition(".")[2]
    return LABELS.get(name, name.replace("_", " "))


def _word(name: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{name} {value}"
