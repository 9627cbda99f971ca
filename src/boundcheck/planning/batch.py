"""A batch: the seeds of one cell that one job trains. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Batch:
    """The seeds of one cell that one job trains.

    - `train`: the spec of its training.
    - `analyses`: the variants that measure its snapshots.
    - `roles`: the roles of all grid blocks that contain the cell.
    - `data`: the folders below data/ with its examples and, with distillation, its teacher.
    """

    study: str
    dataset: str
    model: str
    method: str
    seeds: tuple[int, ...]
    train: Mapping[str, Any]
    analyses: tuple[Mapping[str, Any], ...]
    roles: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def teacher(self) -> Mapping[str, Any] | None:
        """The variant of the teacher, with its name and file; None without distillation."""
        return self.train["training"].get("teacher")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the dataset and of the teacher (if there is one), in the order of `data`."""
        return (self.dataset, self.teacher["name"]) if self.teacher else (self.dataset,)

    @property
    def cell(self) -> str:
        """The name of the cell: study/dataset/model/method."""
        return f"{self.study}/{self.dataset}/{self.model}/{self.method}"

    @property
    def seeds_folder(self) -> str:
        """The last folder of the batch's path, such as seeds_0-2."""
        return f"seeds_{self.seeds[0]}-{self.seeds[-1]}"

    @property
    def folder(self) -> str:
        """The folder of the batch below results/<scale>/, such as study/dataset/model/method/seeds_0-2."""
        return f"{self.cell}/{self.seeds_folder}"
