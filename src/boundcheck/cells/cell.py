"""What a job trains or measures, as objects made from its spec once. Whatever the job calls afterwards gets these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.cells.resolved import settings_of, view_of
from boundcheck.contracts import Analysis, Callback, Method, Model
from boundcheck.data import DATASETS
from boundcheck.data.augment import Augment
from boundcheck.data.view import View
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import as_variant, build
from boundcheck.seeds import Purpose, generator_for
from boundcheck.settings import TrainingSettings

if TYPE_CHECKING:
    from boundcheck.data.teacher import Teacher

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}  # of weights, by precision


class CellNames(NamedTuple):
    """The names of the variants that a cell is made of; as text `dataset/model/method`."""

    dataset: str
    model: str
    method: str

    def __str__(self) -> str:
        return "/".join(self)


class FetchedTeacher(NamedTuple):
    """A teacher network, and the file of its weights."""

    teacher: Teacher
    file: Path


@dataclass(frozen=True)
class Cell:
    """One method on one model and dataset, with those of its seeds that one batch trains.

    Args:
        names: of dataset, model and method; random seeds depend on the first two.
        seeds: of the batch.
        view: which examples of the dataset are used, and how they are normalised.
        model: the architecture.
        method: what trains it.
        training: how it is trained.
        augment: how training images are augmented.
        snapshots: the epochs whose weights are kept.
        record: the variants of the callbacks; callbacks keep a state, so every training makes its own.
        analyses: what is measured on the snapshots, by name.
        teacher: what the network learns from beside the labels; None without distillation.
    """

    names: CellNames
    seeds: tuple[int, ...]
    view: View
    model: Model
    method: Method
    training: TrainingSettings
    augment: Augment
    snapshots: tuple[int, ...]
    record: tuple[Mapping[str, Any], ...]
    analyses: Mapping[str, Analysis]
    teacher: FetchedTeacher | None

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Cell:
        """The cell that a spec describes.

        Args:
            spec: dataset, model and method (variants with their names), seeds, training, snapshots, record; to be
                measured also `analyses`.

        Raises:
            ValueError: a setting that its kind rejects.
        """
        training = TrainingSettings(**spec["training"])
        return cls(
            names=CellNames(*(spec[part]["name"] for part in CellNames._fields)),
            seeds=tuple(spec["seeds"]),
            view=view_of(spec["dataset"]),
            model=build(MODELS, settings_of(spec["model"])),
            method=build(METHODS, settings_of(spec["method"])),
            training=training,
            augment=Augment(**training.augment),
            snapshots=tuple(spec["snapshots"]),
            record=tuple(map(as_variant, spec["record"])),
            analyses={variant["name"]: build(ANALYSES, settings_of(variant)) for variant in spec.get("analyses", ())},
            teacher=_teacher(training.teacher),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and inputs."""
        return DTYPES[self.training.precision]

    def generator(self, purpose: Purpose, seed: int) -> torch.Generator:
        """The random numbers of one seed for one purpose, the same for every method."""
        return generator_for(purpose, self.names.dataset, self.names.model, seed)

    def batch_size(self, num_examples: int) -> int:
        """Examples of one step, of so many training examples."""
        size = self.training.batch_size
        return num_examples if size == "full" else min(size, num_examples)

    def new_callbacks(self) -> dict[str, Callback]:
        """New callbacks of `record`, by kind."""
        return build_callbacks(self.record)


def build_callbacks(record: Iterable[str | Mapping[str, Any]]) -> dict[str, Callback]:
    """The callbacks of a `record`, by kind.

    Raises:
        ValueError: an unknown kind, a setting that its kind rejects, or a kind that stands there twice.
    """
    callbacks: dict[str, Callback] = {}
    for variant in map(as_variant, record):
        callback = build(CALLBACKS, variant)
        if variant["kind"] in callbacks:
            raise ValueError(f"got {variant['kind']} twice; allowed: each kind once")
        callbacks[variant["kind"]] = callback
    return callbacks


def _teacher(variant: Mapping[str, Any] | None) -> FetchedTeacher | None:
    return FetchedTeacher(build(DATASETS, settings_of(variant)), Path(variant["file"])) if variant else None
