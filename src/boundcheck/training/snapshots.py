"""The weights that a training leaves at the epochs of `snapshots`, and the arrays of its callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from boundcheck.atomic_files import replacing
from boundcheck.manifests import file_digest


def save_snapshot(model: nn.Module, is_stacked: bool, path: Path, seed_index: int | None = None) -> str:
    """Write the model's parameters and buffers (leading axis = seed) atomically, and return the file's sha256.

    Args:
        model: a network, or a stack.
        is_stacked: whether it is a stack.
        path: the file.
        seed_index: only this seed of the stack; None: all.
    """
    state = {name: value.detach() for name, value in model.state_dict().items()}
    if not is_stacked:
        state = {name: value.unsqueeze(0) for name, value in state.items()}
    if seed_index is not None:
        state = {name: value[seed_index : seed_index + 1] for name, value in state.items()}
    with replacing(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, temporary)
        return file_digest(temporary)


def write_snapshots(
    files: Mapping[int, Sequence[Path]], arrays: Sequence[Mapping[str, Mapping[str, Tensor]]], folder: Path
) -> None:
    """Join the files of a batch's stacks along the seeds, and write the folder atomically.

    Args:
        files: by epoch, the snapshot files of the stacks in the order of their seeds. Where a file is missing, because
            its seeds diverged before, their values are NaN. An epoch that no seed reached gets no file.
        arrays: those of each stack, by the kind of the callback and their own names.
        folder: where `epoch_<n>.safetensors` and `<kind>.safetensors` go.
    """
    with replacing(folder) as temporary:
        temporary.mkdir()
        for epoch, paths in files.items():
            parts = [load_file(path) if path.exists() else None for path in paths]
            known = next((part for part in parts if part is not None), None)
            if known is not None:
                blank = {name: _blank(value, value.shape) for name, value in known.items()}
                joined = {name: torch.cat([(part or blank)[name] for part in parts]) for name in known}
                save_file(joined, temporary / f"epoch_{epoch}.safetensors")
        for kind in arrays[0]:
            named = {name: _joined(stack[kind][name] for stack in arrays) for name in arrays[0][kind]}
            save_file(named, temporary / f"{kind}.safetensors")


def _joined(parts: Iterable[Tensor]) -> Tensor:
    """Along the leading axis; a part that is shorter along another one is padded."""
    tensors = [part.detach().cpu() for part in parts]
    longest = [max(lengths) for lengths in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([_padded(tensor, longest) for tensor in tensors]).contiguous()


def _padded(tensor: Tensor, lengths: Sequence[int]) -> Tensor:
    if list(tensor.shape[1:]) == list(lengths):
        return tensor
    padded = _blank(tensor, (len(tensor), *lengths))
    padded[tuple(slice(length) for length in tensor.shape)] = tensor
    return padded


def _blank(like: Tensor, shape: Sequence[int]) -> Tensor:
    return like.new_full(tuple(shape), float("nan") if like.is_floating_point() else 0)
