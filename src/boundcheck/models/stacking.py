"""Stacks: several networks of one architecture as one module. Its tensors have a leading axis of seeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn


def stack(modules: Sequence[nn.Module]) -> nn.Module:
    """One module with the parameters and buffers of k modules along a leading axis.

    Its forward must support that axis (`Model.stackable`). If the loss is the sum over the k slices, each slice gets
    the same gradient as alone.

    Args:
        modules: k networks of one architecture; they are copied.

    Raises:
        ValueError: there are no modules, or their tensors differ in name, shape or type.
    """
    if not modules:
        raise ValueError("modules: got none; allowed: at least one")
    stacked = copy.deepcopy(modules[0])
    described = [_description(module) for module in modules]
    if any(description != described[0] for description in described):
        raise ValueError("modules: got different architectures; allowed: tensors equal in name, shape and type")
    slices = zip(*map(_tensors, modules), strict=True)
    for target, tensors in zip(_tensors(stacked), slices, strict=True):
        target.data = torch.stack([tensor.detach() for tensor in tensors])
    return stacked


def unstack(module: nn.Module) -> list[nn.Module]:
    """The k modules of a stack, as copies: the inverse of `stack`."""
    return [_slice(module, i) for i in range(num_stacked(module))]


def num_stacked(module: nn.Module) -> int:
    """The number of networks in a stack: the length of the leading axis.

    Raises:
        ValueError: the tensors have no common leading axis, so the module is not a stack.
    """
    lengths = {tensor.shape[0] if tensor.dim() else None for tensor in _tensors(module)}
    length = lengths.pop() if len(lengths) == 1 else None
    if length is None:
        raise ValueError("module: got tensors without a common leading axis; allowed: what `stack` returns")
    return length


def load_slice(module: nn.Module, stacked_state: Mapping[str, Tensor], i: int) -> nn.Module:
    """Load the values of slice i of a stack into a single network, and return the network.

    Args:
        module: a network of the same architecture; changed in place.
        stacked_state: the `state_dict` of a stack, or a snapshot read from a file.
        i: the index of the slice.

    Raises:
        RuntimeError: names or shapes do not match.
    """
    module.load_state_dict({name: tensor[i] for name, tensor in stacked_state.items()})
    return module


def _slice(module: nn.Module, i: int) -> nn.Module:
    single = copy.deepcopy(module)
    for tensor in _tensors(single):
        tensor.data = tensor.data[i].clone()
    return single


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


def _description(module: nn.Module) -> list[tuple[str, torch.Size, torch.dtype]]:
    named = chain(module.named_parameters(), module.named_buffers())
    return [(name, tensor.shape, tensor.dtype) for name, tensor in named]
