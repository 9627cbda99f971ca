"""What the papers state: the checks and claims of `claims/<key>/claims.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.planning.code_version import SOURCE
from boundcheck.planning.yaml_files import Config, read_file

WORDS = ("statement", "reference")  # of a claim: what it says; all else decides it


def claims_file(key: str) -> Path | None:
    """The file with the checks and claims of a paper; None for a study that is no paper's."""
    file = SOURCE / "boundcheck" / "claims" / key / "claims.yaml"
    return file if key.isidentifier() and file.is_file() else None


def load_claims(key: str) -> tuple[Config, Config]:
    """The checks and the claims of a paper, tables of claims expanded; both empty for a study that is no paper's."""
    file = claims_file(key)
    content = {} if file is None else read_file(file)
    return content.get("checks", {}), expand_tables(content.get("claims", {}))


def expand_tables(claims: Config) -> Config:
    """Single claims instead of the tables among them."""
    return claims


def words_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What a claim says: it counts in the report alone."""
    return {key: value for key, value in claim.items() if key in WORDS}


def deciding_settings(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a claim: all but its words."""
    return {key: value for key, value in claim.items() if key not in WORDS}
