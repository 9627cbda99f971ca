"""Random seeds derived from what they are for: equal seeds mean equal starts and data orders for all methods."""

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
    """A CPU generator seeded by `seed_for`; on the CPU so that a GPU run starts and shuffles alike."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_for(purpose, dataset, model, seed) % 2**63)
