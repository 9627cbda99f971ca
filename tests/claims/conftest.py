"""Tables made by hand: a few runs with the numbers that a test wants."""

import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.contracts import NAN
from boundcheck.verdicts import Tables

CELL = ["dataset", "model", "method"]


def _frame(rows, columns):
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def make_tables():
    """Tables from {(dataset, model, method): {seed: value}}: the value at epoch 2, halves and thirds of it before.

    `statuses` overrides "done" by (dataset, model, method, seed); such runs stop after epoch 0.
    """

    def make(values, quantity="test_accuracy", statuses=None, measurements=(), checks=(), skipped=(), specs=None):
        statuses, specs = statuses or {}, specs or {}
        curves, runs = [], []
        for cell, by_seed in values.items():
            for seed, value in by_seed.items():
                status = statuses.get((*cell, seed), "done")
                spec = specs.get(cell[1], {"kind": "mlp", "activation": "tanh"})
                runs.append((*cell, seed, status, "", spec))
                for epoch, part in enumerate((1 / 3, 1 / 2, 1.0) if status == "done" else (1 / 3,)):
                    curves.append((*cell, seed, 10 * epoch, float(epoch), quantity, -1, NAN, part * value, NAN))
        names = [*CELL, *schemas.TIDY.names]
        return Tables(
            curves=_frame(curves, names),
            measurements=_frame(list(measurements), [*CELL, *schemas.MEASUREMENTS.names]),
            checks=_frame(list(checks), schemas.CHECKS.names),
            runs=_frame(runs, [*CELL, "seed", "status", "reason", "model_spec"]),
            skipped=_frame(list(skipped), [*CELL, "reason"]),
        )

    return make
