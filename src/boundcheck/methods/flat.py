"""Parameters and gradients as one flat vector of shape (k, p): one row for a network, k rows for a stack of k."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import is_
from typing import Any

import torch
from torch import Tensor

XI = 1e-12  # ξ of Zhang et al. 2023: 0/(0 + ξ) = 0, so a zero gradient has a zero direction
CHUNK = 2**16


def norm(v: Tensor) -> Tensor:
    """Euclidean norm of each row, over all parameters of all groups: (k, p) -> (k, 1).

    Long rows are summed in two levels: a plain float32 sum of 10⁷ squares loses three digits on a CPU.
    """
    length = v.shape[-1]
    if length >= 2 * CHUNK:
        whole = length - length % CHUNK
        chunks = torch.linalg.vector_norm(v[:, :whole].unflatten(1, (-1, CHUNK)), dim=-1)  # (k, p // CHUNK)
        rest = torch.linalg.vector_norm(v[:, whole:], dim=-1, keepdim=True)  # (k, 1)
        v = torch.cat([chunks, rest], dim=1)
    return torch.linalg.vector_norm(v, dim=-1, keepdim=True)


def along(v: Tensor, length: Any) -> Tensor:
    """ρ v/(‖v‖ + ξ) for each row: (k, p) -> (k, p); the length ρ is a number, or one per coordinate (p,)."""
    return v * (length / (norm(v) + XI))


def perpendicular(v: Tensor, u: Tensor) -> Tensor:
    """The part of v orthogonal to u, v − cos(v, u) ‖v‖ u/(‖u‖ + ξ), for each row: (k, p), (k, p) -> (k, p).

    References: Zhuang et al. 2022 (GSAM), the decomposition of the gradient.
    """
    v_norm, u_norm = norm(v), norm(u)
    product = (v * u).sum(-1, keepdim=True)  # (k, 1); products that autocast takes in bfloat16 will not do
    cosine = product / (v_norm * u_norm + XI)
    return v - cosine * v_norm / (u_norm + XI) * u


class FlatLayout:
    """Where each parameter lies in the flat vector.

    Flat vectors are float32 or wider, so norms and sums of bfloat16 parameters are taken in float32, and copying
    such a parameter to the flat vector and back changes no bit. All copies go through one buffer, whose pieces in
    the shapes of the parameters are made once: making them costs more than the arithmetic of a small network.

    Args:
        parameters: the tensors, in order.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of that length.

    Raises:
        ValueError: a parameter of a stack without the leading axis.
    """

    def __init__(self, parameters: Sequence[Tensor], num_stacked: int = 1) -> None:
        for parameter in parameters if num_stacked > 1 else ():
            if parameter.shape[:1] != (num_stacked,):
                shape = tuple(parameter.shape)
                raise ValueError(f"parameters: got shape {shape}; allowed: a leading axis of num_stacked={num_stacked}")
        self.parameters = list(parameters)
        self._sizes = [parameter.numel() // num_stacked for parameter in parameters]
        dtype = reduce(torch.promote_types, {parameter.dtype for parameter in parameters}, torch.float32)
        self._buffer = torch.empty(num_stacked, sum(self._sizes), dtype=dtype, device=parameters[0].device)
        self._places = self.views(self._buffer)

    def is_of(self, parameters: Sequence[Tensor]) -> bool:
        """Whether this is the layout of these very tensors."""
        return len(parameters) == len(self.parameters) and all(map(is_, parameters, self.parameters))

    def views(self, flat: Tensor) -> list[Tensor]:
        """A flat vector (k, p) as tensors of the shapes of the parameters."""
        pieces = flat.split(self._sizes, dim=1)
        return [_shaped_like(*pair) for pair in zip(self.parameters, pieces, strict=True)]

    def gather(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Copy one tensor per parameter into a new flat vector (k, p); None counts as zeros."""
        places, present = self._places, [tensor for tensor in tensors if tensor is not None]
        if len(present) < len(places):
            self._buffer.zero_()
            places = [place for place, tensor in zip(places, tensors, strict=True) if tensor is not None]
        torch._foreach_copy_(places, present)
        return self._buffer.clone()

    def scatter(self, flat: Tensor, tensors: Sequence[Tensor]) -> None:
        """Copy a flat vector (k, p) into one tensor per parameter."""
        self._buffer.copy_(flat)
        torch._foreach_copy_(list(tensors), self._places)


def _shaped_like(parameter: Tensor, piece: Tensor) -> Tensor:
    if parameter.dim() == 4 and len(piece) == 1 and parameter.is_contiguous(memory_format=torch.channels_last):
        n, c, h, w = parameter.shape
        return piece.view(n, h, w, c).permute(0, 3, 1, 2)  # foreach kernels are fast where the strides agree
    return piece.view(parameter.shape)
