"""The state of a training in progress on disk: safetensors and JSON, never pickle, written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from boundcheck.atomic_files import replacing
from boundcheck.manifests import file_digest

FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that must not be loaded; the message says why."""


def encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors moved into `tensors` and replaced by their names there."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[encode(k, tensors), encode(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [encode(v, tensors) for v in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `encode`; tensors come back on the CPU."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "dict":
            return {decode(k, tensors): decode(v, tensors) for k, v in content}
        case "tuple":
            return tuple(decode(v, tensors) for v in content)
        case _:
            return [decode(v, tensors) for v in content]


def save(path: Path, state: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Write `state` to `path` under a temporary name, then rename. `identity` names the job that it belongs to."""
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(encode(dict(state), tensors))
    tensors.setdefault("empty", torch.zeros(0))
    metadata = {"identity": json.dumps(identity), "structure": structure, "digest": _digest(structure, tensors)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"format": str(FORMAT), **metadata})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())


def load(path: Path, identity: Mapping[str, str]) -> dict[str, Any]:
    """The state that `save` wrote.

    Raises:
        CheckpointError: the file is damaged, of another format, or of a job of another identity.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != str(FORMAT):
                raise CheckpointError(f"{path}: not a checkpoint of this version")
            if differences := _differences(json.loads(metadata["identity"]), identity):
                raise CheckpointError(f"{path}: the checkpoint of another job: {differences}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["digest"] != _digest(metadata["structure"], tensors):
                raise CheckpointError(f"{path}: damaged (its content has changed)")
            return decode(json.loads(metadata["structure"]), tensors)
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Which entries of two identities differ, in words."""
    names = [name for name in new if old.get(name) != new[name]]
    return "; ".join(f"{name} was {old.get(name, 'not known')}, is {new[name]}" for name in names)


def _digest(structure: str, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of all that a checkpoint holds, for safetensors keeps no checksum."""
    digest = hashlib.sha256(structure.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_or_set_aside(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """The state in `path`, or None where there is none; a file that must not be loaded is renamed, with a message.

    The snapshots that the state lists are read, too: if one of them is damaged, the state is refused.
    """
    if not path.exists():
        return None
    try:
        state = load(path, identity)
        for name, digest in state.get("snapshot_digests", {}).items():
            if not (path.parent / name).is_file() or file_digest(path.parent / name) != digest:
                raise CheckpointError(f"{path.parent / name}: damaged or missing")
        return state
    except CheckpointError as error:
        aside = path.with_name(f"{path.name}.refused")
        shutil.move(path, aside)
        print(f"checkpoint refused: {error}; set aside as {aside}; starting afresh", flush=True)
        return None
