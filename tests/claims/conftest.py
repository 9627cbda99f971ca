"""Tables made by hand: a few runs with the numbers that a test wants."""

import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.contracts import NAN
from boundcheck.models import MODELS
from boundcheck.registry import resolved
from boundcheck.verdicts import Tables

CELL = ["dataset", "model", "method"]
RESOLVED = ["dataset_spec", "model_spec", "method_spec", "training", "record", "roles"]
MODEL = resolved(MODELS, {"kind": "mlp", "depth": 2, "width": 64, "activation": "tanh"})
TRAINING = {"epochs": 2, "batch_size": 64}


def _frame(rows, columns):
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def make_tables():
    """Tables from {(dataset, model, method): {seed: value}}: the value at epoch 2, halves and thirds of it before.

    `statuses` overrides "done" by (dataset, model, method, seed); such runs stop after epoch 0. Resolved settings:
    `specs` by the name of a model, `methods` and `datasets` by theirs, `training`, `record` and `roles` by cell
    (dataset, model, method) or by the name of its method.
    """

    def make(
        values,
        quantity="test_accuracy",
        statuses=None,
        measurements=(),
        checks=(),
        skipped=(),
        specs=None,
        methods=None,
        datasets=None,
        training=None,
        record=None,
        roles=None,
    ):
        statuses, specs, methods, datasets = statuses or {}, specs or {}, methods or {}, datasets or {}

        def of_cell(given, cell, default):
            return (given or {}).get(cell, (given or {}).get(cell[2], default))

        curves, runs = [], []
        for cell, by_seed in values.items():
            settings = {
                "dataset_spec": {"name": cell[0], **datasets.get(cell[0], {"kind": cell[0]})},
                "model_spec": {"name": cell[1], **specs.get(cell[1], MODEL)},
                "method_spec": {"name": cell[2], **methods.get(cell[2], {"kind": cell[2], "num_gradients": 1})},
                "training": of_cell(training, cell, TRAINING),
                "record": of_cell(record, cell, [{"kind": "loss"}]),
                "roles": of_cell(roles, cell, ["main"]),
            }
            for seed, value in by_seed.items():
                status = statuses.get((*cell, seed), "done")
                runs.append((*cell, seed, status, "", *settings.values()))
                for epoch, part in enumerate((1 / 3, 1 / 2, 1.0) if status == "done" else (1 / 3,)):
                    curves.append((*cell, seed, 10 * epoch, float(epoch), quantity, -1, NAN, part * value, NAN))
        names = [*CELL, *schemas.TIDY.names]
        return Tables(
            curves=_frame(curves, names),
            measurements=_frame(list(measurements), [*CELL, *schemas.MEASUREMENTS.names]),
            checks=_frame(list(checks), schemas.CHECKS.names),
            runs=_frame(runs, [*CELL, "seed", "status", "reason", *RESOLVED]),
            skipped=_frame(list(skipped), [*CELL, "reason"]),
        )

    return make
