"""Manifests: the JSON file of a stage that names what it was made from, and the sha256 of every file that it wrote.

A stage writes its files, and its manifest last. The next stage reads no file without comparing it with its manifest, so
that a damaged file, or one of another job, stops the run instead of changing a verdict. No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from boundcheck.atomic_files import write_text

Stage = Literal["fetch", "train", "measure", "check", "report"]
PROVENANCE = "provenance.json"  # the manifest of a stage in the folder that is its own: fetch, train, report
MEASURE_PROVENANCE, CHECK_PROVENANCE = "measure_provenance.json", "check_provenance.json"
OWN_DIGEST, SPEC_DIGEST = "manifest_sha256", "spec_sha256"


class ResultError(RuntimeError):
    """A file between the stages that must not be used. The message names it, and the command that makes it again."""


def digest_of(value: Any) -> str:
    """The sha256 of a value as JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(path: Path, stage: Stage, content: Mapping[str, Any], outputs: Iterable[Path]) -> None:
    """Write the manifest of a stage atomically.

    Args:
        path: the JSON file.
        stage: the stage.
        content: what the files were made from: `spec` or its digest, `code`, `inputs` and more; numbers and texts.
        outputs: what the stage wrote, below the folder of `path`: files, and folders with all files in them.
    """
    files = {
        str(file.relative_to(path.parent)): file_digest(file) for output in outputs for file in sorted(_files(output))
    }
    manifest = json.loads(json.dumps({**content, "stage": stage, "files": files}))
    if "spec" in manifest:
        manifest[SPEC_DIGEST] = digest_of(manifest["spec"])
    text = json.dumps({**manifest, OWN_DIGEST: digest_of(manifest)}, indent=1, sort_keys=True)
    write_text(text + "\n", path)


def read_manifest(path: Path, stage: Stage, output: Path | None = None) -> dict[str, Any]:
    """The content of a manifest, with `files`: the sha256 by path, relative to the manifest's folder.

    Args:
        path: the JSON file.
        stage: the stage that it should be of.
        output: what to delete so that the stage runs again; by default the manifest.

    Raises:
        ResultError: there is no such file, it is damaged, it is no manifest, or that of another stage.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        digest = manifest.pop(OWN_DIGEST)
        files = manifest["files"].items()
    except FileNotFoundError:
        raise ResultError(made_again(path, "does not exist", output)) from None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(made_again(path, f"damaged ({type(error).__name__})", output)) from None
    if digest != digest_of(manifest) or not all(isinstance(entry, str) for pair in files for entry in pair):
        raise ResultError(made_again(path, f"damaged (its content does not match its {OWN_DIGEST})", output))
    if manifest.get("stage") != stage:
        raise ResultError(made_again(path, f"the provenance of another stage ({manifest.get('stage')})", output))
    return manifest


def verified_bytes(path: Path, manifest: Mapping[str, Any], folder: Path) -> bytes:
    """The content of a file that a manifest lists.

    Args:
        path: the file.
        manifest: as `read_manifest` gives it.
        folder: the folder of the manifest.

    Raises:
        ResultError: the file is missing or damaged, or the manifest does not list it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultError(made_again(path, _unreadable(error), _output(path, folder))) from None
    _compare(path, hashlib.sha256(content).hexdigest(), manifest, folder)
    return content


def verify(path: Path, manifest: Mapping[str, Any], folder: Path) -> None:
    """As `verified_bytes`, for a file that is too large for the memory.

    Raises:
        ResultError: the file is missing or damaged, or the manifest does not list it.
    """
    try:
        digest = file_digest(path)
    except OSError as error:
        raise ResultError(made_again(path, _unreadable(error), _output(path, folder))) from None
    _compare(path, digest, manifest, folder)


def verify_all(path: Path, stage: Stage) -> dict[str, Any]:
    """Compare every file that a manifest lists with its digest, and return the manifest.

    Raises:
        ResultError: the manifest or one of its files is missing or damaged.
    """
    manifest = read_manifest(path, stage)
    for name in manifest["files"]:
        verify(path.parent / name, manifest, path.parent)
    return manifest


def require_spec(path: Path, manifest: Mapping[str, Any], spec_digest: str, output: Path) -> None:
    """Refuse a manifest that was made from another spec.

    Args:
        path: the manifest.
        manifest: as `read_manifest` gives it.
        spec_digest: `digest_of` the spec that it should be made from.
        output: what to delete so that the stage runs again.

    Raises:
        ResultError: the spec is another one.
    """
    if manifest.get(SPEC_DIGEST) != spec_digest:
        raise ResultError(made_again(path, "made from other settings than those of this run", output))


def made_again(path: Path, problem: str, output: Path | None = None) -> str:
    """An error message about a file, with the command after which the next run makes it again."""
    return f"{path}: {problem}; {remedy(output or path)}"


def remedy(output: Path) -> str:
    """What to do about a damaged output of a stage."""
    return f"to make it again: rm -rf {output}, then the same snakemake command"


def _files(output: Path) -> Iterator[Path]:
    if output.is_dir():
        yield from (file for file in output.rglob("*") if file.is_file())
    else:
        yield output


def _unreadable(error: OSError) -> str:
    return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def _output(path: Path, folder: Path) -> Path:
    """What a stage declares: a file in the folder of its manifest, or a whole folder there."""
    return folder / path.relative_to(folder).parts[0]


def _compare(path: Path, digest: str, manifest: Mapping[str, Any], folder: Path) -> None:
    expected = manifest["files"].get(str(path.relative_to(folder)))
    if expected is None:
        raise ResultError(made_again(path, "not listed in the provenance beside it", _output(path, folder)))
    if digest != expected:
        problem = f"damaged (its sha256 begins with {digest[:12]}, that in the provenance with {expected[:12]})"
        raise ResultError(made_again(path, problem, _output(path, folder)))
