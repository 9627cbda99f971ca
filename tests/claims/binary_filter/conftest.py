"""Runs of binary networks made by hand: bits, curves, and the resolved settings of their cells."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.contracts import NAN
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import resolved
from boundcheck.settings import TrainingSettings
from boundcheck.verdicts import Tables

CELL = ["dataset", "model", "method"]
REAL = {"kind": "sgd", "lr": 0.1}
MODEL = {"kind": "binary_mlp", "depth": 1, "width": 4}
TRAINING = {"precision": "float64", "epochs": 2}
STEPS, WEIGHTS = 40, 21


def all_settings(registry, name, variant):
    """Of a variant, with its defaults and the kind that trains the real parameters of a binary network."""
    if "latent" in variant:
        variant = variant | {"latent": {"real": REAL, **variant["latent"]}}
    elif registry is METHODS:
        variant = {"real": REAL, **variant}
    return {"name": name, **resolved(registry, variant)}


def training_settings(**given):
    settings = TrainingSettings(**(TRAINING | given))
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


class Made:
    """Tables that grow by runs; bits are those of 21 weights after each of 40 steps."""

    def __init__(self):
        self.curves, self.runs, self.bits = [], [], {}

    @staticmethod
    def random_bits(seed=0):
        """(T+1, n) of 0 and 1."""
        return np.random.default_rng(seed).integers(0, 2, (STEPS + 1, WEIGHTS))

    def run(
        self, method, spec, bits=None, curves=(), seed=0, model="mlp", training=None, model_spec=None, roles=("main",)
    ):
        cell = ("digits", model, method)
        self.runs.append(
            (
                *(*cell, seed, "done", "", {"name": "digits"}),
                all_settings(METHODS, method, spec),
                all_settings(MODELS, model, MODEL | (model_spec or {})),
                training_settings(**(training or {})),
                [],
                list(roles),
            )
        )
        for quantity, step, epoch, value, *index in curves:
            self.curves.append((*cell, seed, step, epoch, quantity, index[0] if index else -1, NAN, value, NAN))
        if bits is not None:
            packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
            arrays = {"bits": packed, "steps": np.arange(len(bits)), "num_weights": np.array(WEIGHTS)}
            self.bits.setdefault(cell, {})[seed] = arrays

    def tables(self):
        specs = ["dataset_spec", "method_spec", "model_spec", "training", "record", "roles"]
        return Tables(
            curves=pd.DataFrame(self.curves, columns=[*CELL, *schemas.TIDY.names]),
            measurements=pd.DataFrame(columns=[*CELL, *schemas.MEASUREMENTS.names]),
            checks=pd.DataFrame(columns=schemas.CHECKS.names),
            runs=pd.DataFrame(self.runs, columns=[*CELL, "seed", "status", "reason", *specs]),
            skipped=pd.DataFrame(columns=[*CELL, "reason"]),
            arrays=lambda *cell_and_name: self.bits.get(cell_and_name[:3], {}),
        )


@pytest.fixture
def made():
    return Made()
