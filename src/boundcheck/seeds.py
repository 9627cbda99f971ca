"""Random seeds derived from their purpose. All methods of a cell get equal initial weights and data orders."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Purpose = Literal["init", "order", "augment", "noise", "measure"]


def seed_for(purpose: Purpose, dataset: str, model: str, seed: int) -> int:
    """The first 8 bytes of sha256("purpose/dataset/model/seed"), as an unsigned integer below 2**64."""
    digest = hashlib.sha256(f"{purpose}/{dataset}/{model}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def generator_for(purpose: Purpose, dataset: str, model: str, seed: int) -> torch.Generator:
    """A generator seeded by `seed_for`. It is on the CPU, so that runs on a GPU draw the same numbers."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_for(purpose, dataset, model, seed) % 2**63)
