"""The tables in a paper's section of the report: theorems, cells, missing runs, and provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from boundcheck.report.wording import mean_and_std, number

CELL = ["dataset", "model", "method"]
SHORT = 20  # characters


@dataclass(frozen=True)
class Table:
    """A frame, for a CSV file and for the page."""

    frame: pd.DataFrame

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and style of each column: "numeric" is aligned to the right."""
        numeric = [pd.api.types.is_numeric_dtype(self.frame[name]) for name in self.frame]
        return [
            (str(name), "numeric" if is_numeric else "") for name, is_numeric in zip(self.frame, numeric, strict=True)
        ]

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Text and style of each cell: "decision" is a badge, "short" is not broken into lines."""
        styles = ["decision" if name == "decision" else style for name, style in self.columns]
        return [
            [
                (text := number(value), style or ("short" if len(text) <= SHORT else ""))
                for value, style in zip(row, styles, strict=True)
            ]
            for row in self.frame.itertuples(index=False)
        ]


def check_summary(checks: pd.DataFrame) -> pd.DataFrame:
    """One row per check and theorem: number of rows, rows that satisfy the premise, violations, tightness."""
    held = checks[checks["premise_holds"].astype(bool)]
    held = held.assign(violated=~held["holds"].astype(bool))
    keys = ["check", "theorem"]
    groups = held.groupby(keys)
    summary = pd.DataFrame(
        {
            "rows": checks.groupby(keys).size(),
            "premise holds": groups.size(),
            "violations": groups["violated"].sum(),
            "worst tightness": groups["tightness"].min(),
            "median tightness": groups["tightness"].median(),
        }
    )
    counts = ["rows", "premise holds", "violations"]
    return summary.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, "int64")).reset_index()


def cell_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: its number of runs, and mean ± standard deviation over the finished runs."""
    rows = []
    for _, part in runs[runs["status"] != "skipped"].groupby(CELL):
        done = part[part["status"] == "done"]
        rows.append(
            {
                **{key: part[key].iloc[0] for key in CELL},
                "done": f"{len(done)} of {len(part)}",
                "last accuracy (%)": mean_and_std(100 * done["test_accuracy_last"]),
                "best accuracy (%)": mean_and_std(100 * done["test_accuracy_best"]),
                "last training loss": mean_and_std(done["train_loss_last"]),
                "epochs": done["epoch"].max(),
                "gradients per step": part["num_gradients"].max(),
                "parameters": part["num_parameters"].max(),
                "seconds per run": part["wall_seconds"].mean(),
            }
        )
    return pd.DataFrame(rows)


def absent_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Skipped, diverged and missing runs: one row per cell, status and reason."""
    absent = runs[(runs["status"] != "done") | (runs["reason"] != "")]
    rows = [
        {
            **{key: part[key].iloc[0] for key in CELL},
            "status": part["status"].iloc[0],
            "seeds": ", ".join(str(seed) for seed in sorted(part["seed"]) if seed >= 0) or "–",
            "reason": part["reason"].iloc[0] or "–",
        }
        for _, part in absent.groupby([*CELL, "status", "reason"])
    ]
    return pd.DataFrame(rows, columns=[*CELL, "status", "seeds", "reason"])


def provenance_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """The devices, libraries and code versions that the runs were made with."""
    made = runs.dropna(subset=["code"])
    made = made.assign(cell=made["dataset"] + "/" + made["model"] + "/" + made["method"])
    rows = [
        {
            "device": part["device"].iloc[0],
            "threads": int(part["threads"].iloc[0]),
            "libraries": ", ".join(f"{k} {v}" for k, v in sorted(json.loads(part["versions"].iloc[0]).items())),
            "code": part["code"].iloc[0],
            "cells": ", ".join(sorted(part["cell"].unique())),
            "runs": len(part),
            "CPU seconds": part["cpu_seconds"].sum(),
        }
        for _, part in made.groupby(["device", "threads", "versions", "code"])
    ]
    return pd.DataFrame(rows, columns=["device", "threads", "libraries", "code", "cells", "runs", "CPU seconds"])
