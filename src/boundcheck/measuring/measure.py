"""Measure one batch: every analysis of its grid block on every snapshot of every seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from boundcheck import tables
from boundcheck.analyses import ANALYSES
from boundcheck.cells.cell import PRECISIONS, Floats, build_network, load_splits, settings_of, teacher_of
from boundcheck.cells.resource_errors import shortages_named
from boundcheck.contracts import Split
from boundcheck.methods import METHODS
from boundcheck.models.stacking import load_slice
from boundcheck.objectives import build_objective
from boundcheck.registry import build
from boundcheck.seeds import generator_for


def measure(
    spec: Mapping[str, Any],
    arrays: Path,
    snapshots: Path,
    output: Path,
    modules: Mapping[str, str] | None = None,
    threads: int = 1,
) -> None:
    """Write the measurements of a batch to the Parquet file `output`; a network that diverged has none.

    Args:
        spec: as for training, with `analyses`: a list of variants with their names.
        arrays: the dataset's array file.
        snapshots: the folder of the batch's snapshots.
        output: where the tidy rows go.
        modules: versions of the modules that decide the numbers, kept in the file.
        threads: torch's threads.

    Raises:
        MemoryError: memory ran out; the message names the cell and what to lower.
        OSError: the disk is full.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    job = {"spec": spec, "modules": dict(modules or {}), "threads": threads, "device": device}
    with shortages_named(spec, "the samples of its analyses"):
        tables.write(_columns(spec, arrays, snapshots, device), tables.MEASURED, output, job)


def _columns(spec: Mapping[str, Any], arrays: Path, snapshots: Path, device: str) -> dict[str, list[Any]]:
    training = spec["training"]
    dtype = PRECISIONS[training["precision"]]
    splits, floats = load_splits(spec["dataset"], arrays, device, dtype)
    analyses = {variant["name"]: build(ANALYSES, settings_of(variant)) for variant in spec["analyses"]}
    train = as_floats(splits.train, floats, [getattr(a, "samples", None) for a in analyses.values()])
    sizes = [getattr(a, "test_samples", getattr(a, "samples", None)) for a in analyses.values()]
    test = as_floats(splits.test, floats, sizes)
    num_examples, batch_size = len(splits.train.labels), training["batch_size"]
    steps_per_epoch = 1 if batch_size == "full" else -(-num_examples // batch_size)
    objective = build_objective(training, teacher_of(spec, splits, device))
    columns: dict[str, list[Any]] = {name: [] for name in tables.MEASURED.names}
    settings = {name: _settings(analysis, spec, num_examples) for name, analysis in analyses.items()}
    names = spec["dataset"]["name"], spec["model"]["name"]
    for epoch in spec["snapshots"]:
        path = snapshots / f"epoch_{epoch}.safetensors"
        if not path.exists():  # every seed diverged before
            continue
        state = load_file(path)
        for position, seed in enumerate(spec["seeds"]):
            model = build_network(spec, splits, seed).to(device, dtype)
            load_slice(model, state, position)
            if not all(bool(p.isfinite().all()) for p in model.parameters()):
                continue
            print(f"seed {seed}, epoch {epoch}", flush=True)
            for name_of_analysis, analysis in analyses.items():
                generator = generator_for("measure", *names, seed)
                for row in analysis.measure(model, objective, train, test, generator, training):
                    for name, value in row._asdict().items():
                        columns[name].append(value)
                    common = (seed, epoch * steps_per_epoch, float(epoch), name_of_analysis, settings[name_of_analysis])
                    for name, value in zip(("seed", "step", "epoch", "analysis", "settings"), common, strict=True):
                        columns[name].append(value)
    return columns


def _settings(analysis: Any, spec: Mapping[str, Any], num_examples: int) -> str:
    """What a row was measured with, as JSON: the analysis's settings, and what else defines the loss and the network.

    `num_samples` are the training examples of L, without the penalty of `weight_decay`, which the training had.
    """
    samples = getattr(analysis, "samples", None)
    told = {
        **dataclasses.asdict(analysis),
        "num_samples": num_examples if samples is None else min(samples, num_examples),
        "label_smoothing": spec["training"].get("label_smoothing", 0.0),
        "weight_decay": getattr(build(METHODS, settings_of(spec["method"])), "weight_decay", 0.0),
    }
    return json.dumps(told, sort_keys=True)


def as_floats(split: Split, floats: Floats, sizes: Sequence[int | None]) -> Split:
    """A split as floats; of one too large for that, stored as bytes, only as many examples as an analysis looks at.

    Args:
        split: the examples in use.
        floats: what turns stored inputs into floats.
        sizes: how many examples each analysis takes from the start; None: all.
    """
    if not split.inputs.is_floating_point() and None not in sizes:
        most = max(size for size in sizes if size is not None)
        split = Split(split.inputs[:most], split.labels[:most])
    return split._replace(inputs=floats(split.inputs))
