"""One-factor sweeps: runs whose models or datasets differ in one setting only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

IGNORED = ("name",)


def sweep_rows(rows: pd.DataFrame, runs: pd.DataFrame, field: str, least: int = 3) -> pd.DataFrame:
    """Rows of the groups of runs that differ in one setting and have several values of it.

    Args:
        rows: tidy rows with the keys of runs.
        runs: the table of runs; those not done are left out.
        field: a setting of models (`width`) or of datasets (`dataset.train_size`).
        least: how many values a group must have to count as a sweep.

    Returns: the rows with the columns `x`, the setting's value, and `group`, what is common to the others in words.
    """
    import pandas as pd

    keys = ["dataset", "model", "method", "seed"]
    done = runs[runs["status"] == "done"]
    part, _, name = field.rpartition(".")
    column, changed = ("dataset_spec", "dataset") if part == "dataset" else ("model_spec", "model")
    values, commons = {}, {}
    for run in done.to_dict("records"):
        spec = dict(run[column])
        value = spec.pop(name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            rest = {key: v for key, v in spec.items() if key not in IGNORED}
            kept = {key: run[key] for key in ("dataset", "model", "method") if key != changed}
            key = tuple(run[k] for k in keys)
            values[key], commons[key] = float(value), {**kept, **rest}
    frame = pd.DataFrame(
        [(*key, x, json.dumps(commons[key], sort_keys=True)) for key, x in values.items()],
        columns=[*keys, "x", "common"],
    )
    counts = frame.groupby("common")["x"].nunique()
    frame = frame[frame["common"].map(counts) >= least]
    labels = describe([json.loads(text) for text in sorted(set(frame["common"]))])
    frame = frame.assign(group=[labels[text] for text in frame["common"]])
    return rows.merge(frame.drop(columns="common"), on=keys)


def describe(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A short name for each of several settings, by its JSON: the values in which they differ."""
    names = sorted({name for setting in settings for name in setting})
    differing = [n for n in names if len({json.dumps(s.get(n)) for s in settings}) > 1] or ["method"]
    described = {}
    for setting in settings:
        words = [_word(name, setting[name]) for name in differing if name in setting]
        described[json.dumps(setting, sort_keys=True)] = ", ".join(words) or "default"
    return described


def _word(name: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{name} {value}"
