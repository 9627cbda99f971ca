"""The smooth activations of weight-normalised networks: derivatives, and what bounds them on an interval.

`k0`, `k1`, `beta` and `at_zero` are constants: |φ(z)| ≤ k0|z| + |φ(0)|, |φ′| ≤ k1 and |φ″| ≤ beta on the whole line.
`rounding(z)` bounds what rounding and torch's formulas make of φ, φ′ and φ″ at a given z in float64.
`sup0(h)`, `sup1(h)` and `sup2(h)` bound |φ|, |φ′| and |φ″| on [−h, h], for tensors h ≥ 0. All in closed form.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

TANH_BEND = math.atanh(1 / math.sqrt(3))  # where |tanh″| is largest
UNIT = torch.finfo(torch.float64).eps / 2  # of rounding
SOFTPLUS_LINEAR = 20.0  # above it torch takes softplus for the identity
SILU_SLOPE = 2.39  # silu′ grows up to just beyond it


class Activation(Protocol):
    """φ with two derivatives and their bounds."""

    k0: float
    k1: float
    beta: float
    at_zero: float

    def value(self, z: Tensor) -> Tensor: ...
    def slope(self, z: Tensor) -> Tensor: ...
    def bend(self, z: Tensor) -> Tensor: ...
    def sup0(self, h: Tensor) -> Tensor: ...
    def sup1(self, h: Tensor) -> Tensor: ...
    def sup2(self, h: Tensor) -> Tensor: ...
    def rounding(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class Tanh:
    """φ″ = −2t(1 − t²) with t = tanh z is largest in modulus at t² = 1/3."""

    k0, k1, beta, at_zero = 1.0, 1.0, 4 / (3 * math.sqrt(3)), 0.0

    def value(self, z: Tensor) -> Tensor:
        return z.tanh()

    def slope(self, z: Tensor) -> Tensor:
        return 1 - z.tanh() ** 2

    def bend(self, z: Tensor) -> Tensor:
        t = z.tanh()
        return -2 * t * (1 - t**2)

    def sup0(self, h: Tensor) -> Tensor:
        return h.tanh()

    def sup1(self, h: Tensor) -> Tensor:
        return torch.ones_like(h)

    def sup2(self, h: Tensor) -> Tensor:
        return self.bend(h.clamp_max(TANH_BEND)).abs()

    def rounding(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """1 − t² cancels: the error of φ′ and φ″ is one of 1."""
        t = z.tanh().abs()
        return 4 * UNIT * t, torch.full_like(z, 8 * UNIT), 16 * UNIT * t


class Softplus:
    """φ′ is the logistic function σ, φ″ = σ(1 − σ)."""

    k0, k1, beta, at_zero = 1.0, 1.0, 0.25, math.log(2.0)

    def value(self, z: Tensor) -> Tensor:
        return -F.logsigmoid(-z)  # exact for all z, and so are its derivatives

    def slope(self, z: Tensor) -> Tensor:
        return z.sigmoid()

    def bend(self, z: Tensor) -> Tensor:
        return z.sigmoid() * (-z).sigmoid()

    def sup0(self, h: Tensor) -> Tensor:
        return self.value(h)

    def sup1(self, h: Tensor) -> Tensor:
        return h.sigmoid()

    def sup2(self, h: Tensor) -> Tensor:
        return torch.full_like(h, self.beta)

    def rounding(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All are relative, but where torch leaves out e⁻ᶻ."""
        left_out = torch.where(z > SOFTPLUS_LINEAR, (-z).exp(), 0.0)
        slope = 8 * UNIT * z.sigmoid() + left_out
        return 8 * UNIT * self.value(z) + left_out, slope, slope


class Gelu:
    """φ(z) = zΦ(z) with the exact Φ; φ′ grows up to z = √2, and |φ″| = |2 − z²| times the density is largest at 0."""

    k0, beta, at_zero = 1.0, 2 / math.sqrt(2 * math.pi), 0.0
    k1 = 0.5 * (1 + math.erf(1.0)) + math.exp(-1) / math.sqrt(math.pi)

    def value(self, z: Tensor) -> Tensor:
        return F.gelu(z)

    def slope(self, z: Tensor) -> Tensor:
        return torch.special.ndtr(z) + z * _density(z)

    def bend(self, z: Tensor) -> Tensor:
        return _density(z) * (2 - z**2)

    def sup0(self, h: Tensor) -> Tensor:
        return F.gelu(h)

    def sup1(self, h: Tensor) -> Tensor:
        return self.slope(h.clamp_max(math.sqrt(2)))

    def sup2(self, h: Tensor) -> Tensor:
        return torch.full_like(h, self.beta)

    def rounding(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """torch has Φ as (1 + erf)/2, whose error is one of 1; z²/2 is rounded before its exponential."""
        density = 8 * UNIT * (1 + z**2) ** 2 * _density(z)
        return 8 * UNIT * z.abs(), 8 * UNIT + density, density


class Silu:
    """φ(z) = zσ(z); k1 is sup φ′ rounded up."""

    k0, k1, beta, at_zero = 1.0, 1.0998394, 0.5, 0.0

    def value(self, z: Tensor) -> Tensor:
        return F.silu(z)

    def slope(self, z: Tensor) -> Tensor:
        return z.sigmoid() * (1 + z * (-z).sigmoid())

    def bend(self, z: Tensor) -> Tensor:
        s, rest = z.sigmoid(), (-z).sigmoid()
        return s * rest * (2 + z * (rest - s))

    def sup0(self, h: Tensor) -> Tensor:
        return F.silu(h)

    def sup1(self, h: Tensor) -> Tensor:
        return torch.where(h <= SILU_SLOPE, self.slope(h.clamp_max(SILU_SLOPE)), self.k1)

    def sup2(self, h: Tensor) -> Tensor:
        return torch.full_like(h, self.beta)

    def rounding(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All are relative to σ(z), a factor of each, times what the other factor may cancel."""
        unit = 8 * UNIT * z.sigmoid()
        return unit * z.abs(), unit * (1 + z.abs()), unit * (2 + z.abs())


SMOOTH: dict[str, Activation] = {"tanh": Tanh(), "gelu": Gelu(), "softplus": Softplus(), "silu": Silu()}


def smooth_activation(name: str) -> Activation:
    """The activation of a name.

    Raises:
        ValueError: it has no bounded second derivative, as ReLU, or is unknown.
    """
    if name == "relu":
        allowed = ", ".join(SMOOTH)
        raise ValueError(f"activation: got 'relu'; allowed: {allowed} (ReLU is not smooth: it has no Hessian at 0)")
    if name not in SMOOTH:
        raise ValueError(f"activation: got {name!r}; allowed: {', '.join(SMOOTH)}")
    return SMOOTH[name]


def _density(z: Tensor) -> Tensor:
    return torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
