"""The fetches of a plan: one folder of arrays for each kind and source of data, shared by all cells. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from boundcheck.registry import VIEW_KEYS


def fetch_spec(variant: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a dataset's arrays: its kind and source, without the settings of `View`."""
    return {key: variant[key] for key in sorted(variant) if key not in VIEW_KEYS}


def data_name(variant: Mapping[str, Any]) -> str:
    """The folder below data/ of a dataset's arrays: its kind, and 8 digits of the hash of other settings, if any."""
    spec = fetch_spec(variant)
    if spec.keys() == {"kind"}:
        return spec["kind"]
    digest = hashlib.sha256(json.dumps(spec).encode()).hexdigest()
    return f"{spec['kind']}-{digest[:8]}"
