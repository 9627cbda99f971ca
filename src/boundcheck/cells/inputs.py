"""The data files of a job, compared with the spec that they should be made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.data.arrays import arrays_digest
from boundcheck.manifests import PROVENANCE, ResultError, digest_of, made_again, read_manifest, require_spec
from boundcheck.planning.fetches import fetch_spec

OF_A_CELL = ("name", "file")  # entries of a variant that the fetch does not get


def data_digests(spec: Mapping[str, Any], arrays: Path) -> dict[str, str]:
    """The sha256 of the content of a job's data files: `dataset`, and with distillation `teacher`.

    The files themselves are verified when they are read.

    Args:
        spec: of a training or measuring.
        arrays: the dataset's array file.

    Raises:
        ResultError: a file has no provenance, or is of another dataset than the spec names.
    """
    teacher = spec["training"].get("teacher")
    digests = {"dataset": _digest(spec["dataset"], arrays)}
    return digests | ({"teacher": _digest(teacher, Path(teacher["file"]))} if teacher else {})


def _digest(variant: Mapping[str, Any], file: Path) -> str:
    path = file.with_name(PROVENANCE)
    manifest = read_manifest(path, "fetch", output=file)
    wanted = fetch_spec({key: value for key, value in variant.items() if key not in OF_A_CELL})
    require_spec(path, manifest, digest_of(wanted), output=file)
    digest = arrays_digest(file)
    if manifest.get("arrays") != digest:
        raise ResultError(made_again(file, "not the file that the provenance beside it lists"))
    return digest


def measured_inputs(training: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of all that a measuring reads: the data of a training, and the weights that it left.

    Args:
        training: the manifest of the training.
    """
    weights = {name: digest for name, digest in training["files"].items() if name.startswith("snapshots/epoch_")}
    return {**training["inputs"], **weights}
