"""Measure one batch: every analysis of its grid block on every snapshot of every seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from boundcheck import tables
from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples, NetworkInputs, load_examples, prepared_device
from boundcheck.cells.machine import machine
from boundcheck.cells.networks import build_network, cell_objective
from boundcheck.cells.resource_errors import explained_resource_errors
from boundcheck.cells.trainable import refuse_unmeasurable
from boundcheck.contracts import Analysis, Snapshot, Split
from boundcheck.manifests import MEASURE_PROVENANCE, write_manifest
from boundcheck.measuring.snapshot_files import Snapshots
from boundcheck.models.stacking import load_slice
from boundcheck.optional_members import HasWeightDecay, UsesSamples, UsesTestSamples


def measure(
    spec: Mapping[str, Any],
    arrays: Path,
    snapshots: Path,
    output: Path,
    modules: Mapping[str, str] | None = None,
    threads: int = 1,
    code: str = "",
) -> None:
    """Write the measurements of a batch to the Parquet file `output`, and `measure_provenance.json` beside it.

    A network that diverged has none.

    Args:
        spec: as for training, with `analyses`: a list of variants with their names.
        arrays: the dataset's array file.
        snapshots: the folder of the batch's snapshots.
        output: where the tidy rows go.
        modules: versions of the modules that decide the numbers, kept in the provenance.
        threads: torch's threads.
        code: version of the code that decides the numbers, kept in the provenance.

    Raises:
        DataError: an analysis has too few examples for the network's batch normalisation.
        MemoryError: memory ran out; the message names the cell and what to lower.
        OSError: the disk is full.
        ResultError: the data or the snapshots are damaged, or of another training than the spec describes.
    """
    cell, device = Cell.from_spec(spec), prepared_device(threads)
    batch = Snapshots.of(spec, arrays, snapshots)
    with explained_resource_errors(cell.names, "the samples of its analyses"):
        tables.write(_columns(cell, load_examples(cell, arrays, device), batch), tables.MEASURED, output)
    job = {"spec": spec, "code": code, "modules": modules or {}, "threads": threads, "device": device.type}
    write_manifest(
        output.with_name(MEASURE_PROVENANCE), "measure", {**job, "machine": machine(), "inputs": batch.inputs}, [output]
    )


def _columns(cell: Cell, examples: Examples, snapshots: Snapshots) -> dict[str, list[Any]]:
    """The columns of the tidy table of all measurements."""
    refuse_unmeasurable(cell, examples.splits)
    train, test = _measured_splits([*cell.analyses.values()], examples)
    objective = cell_objective(cell, examples)
    num_examples = len(examples.splits.train.labels)
    steps_per_epoch = -(-num_examples // cell.batch_size(num_examples))
    settings = {name: _settings(analysis, cell, num_examples) for name, analysis in cell.analyses.items()}
    columns: dict[str, list[Any]] = {name: [] for name in tables.MEASURED.names}
    for epoch in cell.snapshots:
        for seed, model in _networks(cell, examples, snapshots.at(epoch, epoch * steps_per_epoch)):
            print(f"seed {seed}, epoch {epoch}", flush=True)
            keys = {"seed": seed, "step": epoch * steps_per_epoch, "epoch": float(epoch)}
            for name, analysis in cell.analyses.items():
                generator = cell.generator("measure", seed)
                snapshot = Snapshot(model, objective, train, test, generator, cell.training)
                for row in analysis.measure(snapshot):
                    values = {**keys, "analysis": name, "settings": settings[name], **row._asdict()}
                    for column, value in values.items():
                        columns[column].append(value)
    return columns


def _networks(cell: Cell, examples: Examples, state: Mapping[str, Tensor] | None) -> Iterator[tuple[int, nn.Module]]:
    """The networks of a snapshot by seed, without those that are not finite; none where all seeds diverged before."""
    if state is None:
        return
    for seed_index, seed in enumerate(cell.seeds):
        model = build_network(cell, examples.splits, seed).to(examples.device, cell.dtype)
        load_slice(model, state, seed_index)
        if all(bool(p.isfinite().all()) for p in model.parameters()):
            yield seed, model


def _settings(analysis: Analysis, cell: Cell, num_examples: int) -> str:
    """What a row was measured with, as JSON: the analysis's settings, and what else defines the loss and the network.

    `num_samples` is the number of training examples of L. L is without the penalty of `weight_decay`, which the
    training had.
    """
    samples = _num_samples(analysis)
    told = {
        **dataclasses.asdict(analysis),  # type: ignore[call-overload]
        "num_samples": num_examples if samples is None else min(samples, num_examples),
        "label_smoothing": cell.training.label_smoothing,
        "weight_decay": cell.method.weight_decay if isinstance(cell.method, HasWeightDecay) else 0.0,
    }
    return json.dumps(told, sort_keys=True)


def _measured_splits(analyses: Sequence[Analysis], examples: Examples) -> tuple[Split, Split]:
    """The training and test examples that analyses look at, as floats."""
    splits, inputs = examples.splits, examples.network_inputs
    sizes = [_num_samples(analysis) for analysis in analyses]
    test_sizes = [
        analysis.test_samples if isinstance(analysis, UsesTestSamples) else _num_samples(analysis)
        for analysis in analyses
    ]
    return _as_floats(splits.train, inputs, sizes), _as_floats(splits.test, inputs, test_sizes)


def _num_samples(analysis: Analysis) -> int | None:
    return analysis.samples if isinstance(analysis, UsesSamples) else None


def _as_floats(split: Split, network_inputs: NetworkInputs, sizes: Sequence[int | None]) -> Split:
    """A split as floats. Of large data, stored as bytes, only as many examples as an analysis looks at.

    Args:
        split: the examples in use.
        network_inputs: what turns stored inputs into floats.
        sizes: how many examples each analysis takes from the start; None: all.
    """
    if not split.inputs.is_floating_point() and None not in sizes:
        split = split.first(max(size for size in sizes if size is not None))
    return split._replace(inputs=network_inputs(split.inputs))
