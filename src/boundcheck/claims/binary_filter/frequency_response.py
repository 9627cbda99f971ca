"""Optimizers of binary weights as filters: what they let through, beside the transfer functions of theory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.registry import build
from boundcheck.theory.binary_filter.response import frequency_response, sgd_frequency_response
from boundcheck.verdicts import Figure, Tables, Verdict

REAL = {"kind": "sgd", "lr": 0.1}
POINTS = 40


@dataclass(frozen=True)
class FrequencyResponse:
    """The optimizers' responses to a single unit gradient, transformed, are the transfer functions of theory.

    Each optimizer is fed an impulse; what it leaves in its inertia (or in −λw) is transformed and compared with H.
    `supported` where the largest difference of |H| is below `tolerance`.

    Args:
        statement: what the paper states.
        reference: where it does.
        filters: by name, the rates of gradient filters, the last of them α: {"order 2": [0.1, 0.01]}.
        latent: by name, lr, weight_decay and momentum of torch's SGD on latent weights.
        steps: length of the response that is transformed.
        tolerance: largest difference of |H|.
    """

    statement: str
    reference: str
    filters: Mapping[str, Sequence[float]]
    latent: Mapping[str, Mapping[str, float]]
    steps: int = 1600
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if any(not 1 <= len(rates) <= 3 for rates in self.filters.values()):
            raise ValueError("filters: allowed: one to three rates for each")

    def decide(self, tables: Tables) -> Verdict:
        """Feed every optimizer an impulse."""
        import pandas as pd

        frequencies = np.geomspace(1e-3, np.pi, POINTS)
        rows: list[dict[str, Any]] = []
        cells: list[dict[str, Any]] = []
        for name in (*self.filters, *self.latent):
            found = np.abs(_transform(self._impulse(name), frequencies))
            expected = np.abs(self._theory(name, frequencies))
            cells.append({"filter": name, "largest difference of |H|": float(np.abs(found - expected).max())})
            for role, values in (("measured", found), ("formula", expected)):
                common = {"panel": "gain", "series": name, "role": role}
                rows += [
                    {**common, "x": w, "y": y, "low": y, "high": y} for w, y in zip(frequencies, values, strict=True)
                ]
        worst = max(cell["largest difference of |H|"] for cell in cells)
        caption = "Frequency response |H|: the optimizers' own (dots) and the transfer function (dotted)."
        figure = Figure(
            pd.DataFrame(rows), "line", "frequency (radians per step)", "|H|", caption, log_x=True, log_y=True
        )
        return Verdict(
            "supported" if worst <= self.tolerance else "contradicted",
            f"{len(cells)} optimizers, largest difference of |H| {worst:.2g}",
            effect=worst,
            unit="of |H|",
            num_runs=len(cells),
            cells=cells,
            figures=[figure],
        )

    def _theory(self, name: str, frequencies: np.ndarray) -> np.ndarray:
        if name in self.filters:
            return frequency_response(list(self.filters[name]), frequencies)
        numbers = self.latent[name]
        return sgd_frequency_response(numbers["lr"], numbers["weight_decay"], numbers["momentum"], frequencies)

    def _impulse(self, name: str) -> np.ndarray:
        """What a unit gradient at the first step leaves after each step."""
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        if name in self.filters:
            rates = dict(zip(("alpha", "gamma", "delta"), reversed(self.filters[name]), strict=False))
            variant: dict[str, Any] = {"kind": "gradient_filter", **rates, "real": REAL}
        else:
            variant = {"kind": "latent_sgd", **self.latent[name], "real": REAL}
        optimizer = build(METHODS, variant).binary_optimizer([weight])
        response = np.empty(self.steps)
        for step in range(self.steps):
            weight.grad = torch.full_like(weight, 1.0 if step == 0 else 0.0)
            optimizer.step()
            is_filter = name in self.filters
            value = optimizer.state[weight]["inertia"] if is_filter else -self.latent[name]["weight_decay"] * weight
            response[step] = value.item()
        return response


@dataclass(frozen=True)
class ReplayedMappings:
    """Open loop: mappings that theory calls exact get no bit wrong, the others some, on one run's gradients.

    `contradicted` where an exact one gets a bit wrong, `inconclusive` where another one gets none wrong.

    Args:
        statement: what is stated.
        reference: where.
        names: the mappings in the order of their index in `bits_wrong`.
        exact: those that get no bit wrong under any schedule.
        exact_if_constant: those that get none wrong at a constant learning rate.
    """

    statement: str
    reference: str
    names: Sequence[str]
    exact: Sequence[str] = ("state_space", "riccati")
    exact_if_constant: Sequence[str] = ("first_roots", "frozen_roots", "scaled_alpha")

    def decide(self, tables: Tables) -> Verdict:
        """Every mapping on every run that replayed it."""
        rows = tables.curves[tables.curves["quantity"] == "bits_wrong"]
        if not len(rows):
            return Verdict("not run", "no run replayed its gradients")
        constant = {
            (run.dataset, run.model, run.method): run.training["lr_schedule"] == "constant"
            and not run.training["warmup_epochs"]
            for run in _rows(tables.runs[tables.runs["status"] == "done"])
        }
        cells: list[dict[str, Any]] = []
        wrong: list[str] = []
        lucky: list[str] = []
        groups: Any = rows.groupby(["dataset", "model", "method", "index"])
        for (dataset, model, method, index), part in groups:
            name, mean = self.names[int(index)], float(part["value"].mean())
            is_constant = constant[dataset, model, method]
            should_be_exact = name in self.exact or (name in self.exact_if_constant and is_constant)
            if (mean == 0) != should_be_exact:
                (wrong if should_be_exact else lucky).append(f"{name} on {method}")
            cells.append(
                {
                    "dataset": dataset,
                    "model": model,
                    "method": method,
                    "mapping": name,
                    "lr": "constant" if is_constant else "scheduled",
                    "bits wrong per step (%)": 100 * mean,
                    "exact by theory": "yes" if should_be_exact else "no",
                    "n": part["seed"].nunique(),
                }
            )
        unexpected = [*(f"bits wrong: {name}" for name in wrong), *(f"no bit wrong: {name}" for name in lucky)]
        reason = f"{len(cells) - len(unexpected)} of {len(cells)} mappings are exact, or not, as stated"
        return Verdict(
            "contradicted" if wrong else "inconclusive" if lucky else "supported",
            "; ".join([reason, *unexpected]),
            num_runs=len(rows[["dataset", "model", "method", "seed"]].drop_duplicates()),
            cells=cells,
            figures=[self._figure(rows)],
        )

    def _figure(self, rows: Any) -> Figure:
        rows = rows.assign(series=[self.names[int(i)] for i in rows["index"]])
        groups = rows.groupby(["dataset", "model", "method", "series", "epoch"])["value"]
        data = groups.agg(y="mean", low="min", high="max").reset_index().rename(columns={"epoch": "x"})
        data[["y", "low", "high"]] *= 100
        data = data.assign(panel=data["dataset"] + " · " + data["method"], role="measured")
        caption = "Bits that a mapped filter gets wrong in a step on the gradients of a latent training, by mapping."
        columns = ["panel", "series", "role", "x", "y", "low", "high"]
        return Figure(data[columns], "line", "epoch", "bits wrong per step (%)", caption)


def _transform(response: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    return np.exp(-1j * np.outer(frequencies, np.arange(len(response)))) @ response


def _rows(frame: Any) -> Any:
    return frame.itertuples()
