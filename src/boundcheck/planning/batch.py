"""What one job trains: the seeds of a cell that go together. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Batch:
    """The seeds of one cell that one job trains. `train` is the spec of its training, `analyses` of its measuring.

    `roles` are those of the blocks of the grid in which the cell stands; `data` the folders below data/ with its
    examples and, where it has one, its teacher.
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
        """The variant that the training distils from, with its name and file."""
        return self.train["training"].get("teacher")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of its dataset and of its teacher, in the order of `data`."""
        return (self.dataset, self.teacher["name"]) if self.teacher else (self.dataset,)

    @property
    def cell(self) -> str:
        """study/dataset/model/method"""
        return f"{self.study}/{self.dataset}/{self.model}/{self.method}"

    @property
    def seeds_folder(self) -> str:
        """seeds_0-2"""
        return f"seeds_{self.seeds[0]}-{self.seeds[-1]}"

    @property
    def folder(self) -> str:
        """study/dataset/model/method/seeds_0-2, below results/<scale>/"""
        return f"{self.cell}/{self.seeds_folder}"
