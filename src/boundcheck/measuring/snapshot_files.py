"""The snapshot files of a batch, as its training's manifest lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from boundcheck.cells.inputs import data_digests, measured_inputs
from boundcheck.manifests import PROVENANCE, ResultError, digest_of, made_again, read_manifest, require_spec, verify


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of one training.

    Args:
        folder: `snapshots` of the batch.
        manifest: of the training.
        inputs: the sha256 of all that is measured: the data files and the snapshots.
    """

    folder: Path
    manifest: Mapping[str, Any]
    inputs: Mapping[str, str]

    @classmethod
    def of(cls, spec: Mapping[str, Any], arrays: Path, folder: Path) -> Snapshots:
        """The snapshots in a folder.

        Args:
            spec: of the measuring.
            arrays: the dataset's array file.
            folder: the batch's snapshots.

        Raises:
            ResultError: they are of another training than the spec describes, or the data has changed since.
        """
        path = folder.with_name(PROVENANCE)
        manifest = read_manifest(path, "train", output=folder)
        trained = {key: value for key, value in spec.items() if key != "analyses"}
        require_spec(path, manifest, digest_of(trained), output=folder)
        if manifest["inputs"] != data_digests(spec, arrays):
            raise ResultError(made_again(folder, f"trained on other data than {arrays} has now"))
        return cls(folder, manifest, measured_inputs(manifest))

    def at(self, epoch: int, step: int) -> dict[str, Tensor] | None:
        """The weights (k, ...) of all seeds at an epoch; None where every seed diverged before.

        Args:
            epoch: one of the training's snapshots.
            step: the step at the end of that epoch.

        Raises:
            ResultError: the file is damaged; or it is missing although a seed came so far.
        """
        file = self.folder / f"epoch_{epoch}.safetensors"
        if f"{self.folder.name}/{file.name}" not in self.manifest["files"]:
            ends = [run["step"] for run in self.manifest["runs"] if run["status"] == "diverged"]
            if len(ends) < len(self.manifest["runs"]) or max(ends) >= step:
                problem = f"not listed in the provenance, although not every seed diverged before step {step}"
                raise ResultError(made_again(file, problem, self.folder))
            return None
        verify(file, self.manifest, self.folder.parent)
        return load_file(file)
