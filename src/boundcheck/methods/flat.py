"""Parameters and gradients as flat vectors of shape (k, p): one row for a network, k rows for a stack of k."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

XI = 1e-12  # ξ of Zhang et al. 2023: 0/(0 + ξ) = 0, so the direction of a zero gradient is zero
CHUNK = 2**16


def norm(v: Tensor) -> Tensor:
    """Euclidean norm of each row, over all parameters of all groups: (k, p) -> (k, 1).

    Long rows are summed in two levels, because a plain float32 sum of 10⁷ squares loses three digits on a CPU.
    """
    length = v.shape[-1]
    if length >= 2 * CHUNK:
        num_chunked = length - length % CHUNK
        chunks = torch.linalg.vector_norm(v[:, :num_chunked].unflatten(1, (-1, CHUNK)), dim=-1)  # (k, p // CHUNK)
        rest = torch.linalg.vector_norm(v[:, num_chunked:], dim=-1, keepdim=True)  # (k, 1)
        v = torch.cat([chunks, rest], dim=1)
    return torch.linalg.vector_norm(v, dim=-1, keepdim=True)


def inner(v: Tensor, u: Tensor) -> Tensor:
    """Inner product of each row: (k, p), (k, p) -> (k, 1). It uses `dot`, which autocast computes in float32."""
    return torch.stack([torch.dot(*rows) for rows in zip(v, u, strict=True)]).unsqueeze(-1)


def along(v: Tensor, length: Any, out: Tensor | None = None) -> Tensor:
    """ρ v/(‖v‖ + ξ) for each row: (k, p) -> (k, p); the length ρ is a number, or one per coordinate (p,)."""
    return torch.mul(v, length / (norm(v) + XI), out=out)


def perpendicular(v: Tensor, u: Tensor, out: Tensor | None = None) -> Tensor:
    """The part of v orthogonal to u, v − cos(v, u) ‖v‖ u/(‖u‖ + ξ), for each row: (k, p), (k, p) -> (k, p).

    References: Zhuang et al. 2022 (GSAM), the decomposition of the gradient.
    """
    v_norm, u_norm = norm(v), norm(u)
    cosine = inner(v, u) / (v_norm * u_norm + XI)  # (k, 1)
    return torch.addcmul(v, u, cosine * v_norm / (u_norm + XI), value=-1, out=out)


class Buffer(NamedTuple):
    """A flat vector (k, p), and views of its parts in the shapes of the parameters."""

    flat: Tensor
    pieces: list[Tensor]


class FlatLayout:
    """The position of each parameter in a flat vector, and named buffers for a method's flat vectors.

    Flat vectors are float32 or wider. So norms and sums of bfloat16 parameters are computed in float32, and copying a
    parameter to the flat vector and back is exact. Buffers are kept between steps: allocating them again would take
    longer than the arithmetic.

    Args:
        parameters: the tensors, in order.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of that length.

    Raises:
        ValueError: a parameter of a stack does not have the leading axis.
    """

    def __init__(self, parameters: Sequence[Tensor], num_stacked: int = 1) -> None:
        for parameter in parameters if num_stacked > 1 else ():
            if parameter.shape[:1] != (num_stacked,):
                shape = tuple(parameter.shape)
                raise ValueError(f"parameters: got shape {shape}; allowed: a leading axis of num_stacked={num_stacked}")
        self.parameters = list(parameters)
        self._sizes = [parameter.numel() // num_stacked for parameter in parameters]
        self._shape = (num_stacked, sum(self._sizes))
        self._dtype = reduce(torch.promote_types, {parameter.dtype for parameter in parameters}, torch.float32)
        self._buffers: dict[str, Buffer] = {}

    def is_of(self, parameters: Sequence[Tensor]) -> bool:
        """Whether this is the layout of exactly these tensors."""
        return len(parameters) == len(self.parameters) and all(map(is_, parameters, self.parameters))

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name. Its content is what was last written to it."""
        if name not in self._buffers:
            flat = torch.empty(self._shape, dtype=self._dtype, device=self.parameters[0].device)
            pieces = zip(self.parameters, flat.split(self._sizes, dim=1), strict=True)
            self._buffers[name] = Buffer(flat, [_shaped_like(parameter, piece) for parameter, piece in pieces])
        return self._buffers[name]

    def pieces(self, flat: Tensor) -> list[Tensor]:
        """A flat vector (k, p) as pieces in the shapes of the parameters. It is copied if it is not a buffer."""
        for buffer in self._buffers.values():
            if buffer.flat is flat:
                return buffer.pieces
        copy = self.buffer("copy")
        copy.flat.copy_(flat)
        return copy.pieces

    def gather(self, tensors: Sequence[Tensor | None], name: str) -> Buffer:
        """Copy one tensor per parameter into the buffer of that name; None counts as zeros."""
        buffer = self.buffer(name)
        pieces, present = buffer.pieces, [tensor for tensor in tensors if tensor is not None]
        if len(present) < len(pieces):
            buffer.flat.zero_()
            pieces = [piece for piece, tensor in zip(pieces, tensors, strict=True) if tensor is not None]
        if present:
            torch._foreach_copy_(pieces, present)
        return buffer


def _shaped_like(parameter: Tensor, piece: Tensor) -> Tensor:
    if parameter.dim() == 4 and len(piece) == 1 and parameter.is_contiguous(memory_format=torch.channels_last):
        n, c, h, w = parameter.shape
        return piece.view(n, h, w, c).permute(0, 3, 1, 2)  # foreach kernels are fast where the strides agree
    return piece.view(parameter.shape)
