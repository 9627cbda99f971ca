"""The checks and claims of the papers, from `claims/<key>/claims.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.planning.claim_tables import WORDS
from boundcheck.planning.code_version import SOURCE


def claims_file(key: str) -> Path | None:
    """The file with the checks and claims of a paper; None if the study is not one of the papers."""
    file = SOURCE / "boundcheck" / "claims" / key / "claims.yaml"
    return file if key.isidentifier() and file.is_file() else None


def words_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """The words of a claim, which only the report uses. `{setting}` in a statement becomes the value of that setting.

    So an overlay that changes a number changes the sentence with it.
    """
    words = {key: value for key, value in claim.items() if key in WORDS}
    for key, value in claim.items():
        if isinstance(value, int | float) and "statement" in words:
            words["statement"] = words["statement"].replace(f"{{{key}}}", f"{value:g}")
    return words


def deciding_settings(claim: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a claim: all keys except its words."""
    return {key: value for key, value in claim.items() if key not in WORDS}
