"""Which Ritz pairs are wanted, and when they have settled."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov
from boundcheck.curvature.missed import largest_missed, none_missed, upper_limits


class StopRule:
    """Steady values and small residuals in consecutive steps; see `lanczos`. Keeps the wanted Ritz pairs."""

    values: Tensor  # (k,)
    vectors: Tensor  # (m, k), in the basis
    residuals: Tensor  # (k,)
    scale: Tensor  # (k,), what tolerances are relative to

    def __init__(
        self, top: int, bottom: int, by_magnitude: bool, tolerance: float, residual_tolerance: float, is_warm: bool
    ) -> None:
        self._wanted = (top, bottom, by_magnitude)
        self._tolerance, self._residual_tolerance = tolerance, residual_tolerance
        self.values = torch.empty(0)
        self._begin(is_warm)

    def _begin(self, is_warm: bool) -> None:
        self._is_warm, self._num_steps, self._num_steady = is_warm, 0, 0

    def __call__(self, krylov: Krylov) -> bool:
        if not krylov.beta.isfinite():
            raise FloatingPointError("matvec: the product has entries that are not finite")
        previous = self.values
        values, vectors = torch.linalg.eigh(krylov.rayleigh[0])  # (m,), (m, m)
        wanted = wanted_of(values, *self._wanted)
        self.values, self.vectors = values[wanted], vectors[:, wanted]
        self.residuals = krylov.residuals(self.values[None], self.vectors[None])[0]
        self.scale = scale = self.values.abs().clamp_min(values.abs().max().item() / 100)
        is_steady = (
            len(previous) == len(wanted)
            and bool(((self.values - previous).abs() <= self._tolerance / 3 * scale).all())
            and bool((self.residuals <= self._residual_tolerance * scale).all())
        )
        self._num_steps += 1
        self._num_steady = self._num_steady + 1 if is_steady else 0
        num_wanted = min(self._wanted[0] + self._wanted[1], krylov.size)
        enough = num_wanted + 2 if self._is_warm else 2 * num_wanted + 3
        is_met = self._num_steps >= enough and self._num_steady >= (2 if self._is_warm else 3)
        if is_met:
            self._begin(is_warm=False)  # a restart waits as a cold start does
        return is_met

    def anew(self) -> StopRule:
        """The same rule for a new basis."""
        return StopRule(*self._wanted, self._tolerance, self._residual_tolerance, is_warm=False)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values (1, k), vectors (1, m, k) and residuals (1, k), as the basis of one operator has them."""
        return self.values[None], self.vectors[None], self.residuals[None]

    def differs_from(self, other: StopRule) -> bool:
        """Whether a value differs by more than what counts as steady."""
        return bool(((self.values - other.values).abs() > self._tolerance / 3 * other.scale).any())

    def excludes_others(self, chain: Tensor, dimension: int) -> bool:
        """Whether a chain orthogonal to the pairs excludes that an eigenvalue beyond the innermost of them was missed.

        Args:
            chain: its Lanczos matrix (m, m).
            dimension: of the space orthogonal to the pairs.
        """
        slack = self._residual_tolerance * self.scale
        return all(
            none_missed(sign * chain, dimension, innermost + slack[place].item())
            for sign, _, place, innermost in self._checked_ends()
        )

    def errors(self, chain: Tensor, dimension: int) -> Tensor:
        """Bounds (k,) on how far each value is from the eigenvalue of its place; the arguments as before.

        At an end of which a single one is wanted it is the residual.
        """
        errors = self.residuals.clone()
        for sign, here, *_ in self._checked_ends():
            limits = upper_limits(sign * self.values, self.residuals, largest_missed(sign * chain, dimension))
            errors[here] = torch.maximum(errors[here], limits[: len(here)] - sign * self.values[here])
        return errors

    def _checked_ends(self) -> Iterator[tuple[int, Tensor, int, float]]:
        """Of each end of which several are wanted: its sign, the places of its values from the outermost, the place
        of the innermost, and that value times the sign."""
        top, bottom, by_magnitude = self._wanted
        for sign, wanted in ((1, top), (-1, top if by_magnitude else bottom)):
            if wanted > 1:
                values = sign * self.values
                order = values.argsort(descending=True)
                if by_magnitude:
                    yield sign, order[: int((values > 0).sum())], len(values) - 1, self.values[-1].abs().item()
                else:
                    place = int(order[wanted - 1])
                    yield sign, order[:wanted], place, values[place].item()


def wanted_of(values: Tensor, top: int, bottom: int, by_magnitude: bool) -> Tensor:
    """Indices of the wanted Ritz values among ascending `values` (m,), in the order of the result."""
    if by_magnitude:
        return values.abs().argsort(descending=True, stable=True)[:top]
    order = torch.arange(len(values) - 1, -1, -1)
    if len(values) <= top + bottom:
        return order
    return torch.cat([order[:top], order[len(values) - bottom :]])
