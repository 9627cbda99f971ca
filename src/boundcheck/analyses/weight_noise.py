"""The loss under Gaussian noise on the weights: what a PAC-Bayes bound speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from boundcheck.analyses.flat_loss import BatchNormMode, FlatNetwork, flat_network
from boundcheck.analyses.settings import Precision, check_loss_settings
from boundcheck.contracts import Objective, Row, Snapshot, Split
from boundcheck.settings import Count, Ge, Positive, settings
from boundcheck.theory.gam.risk import perturbation_scale


@settings
class WeightNoise:
    """E L(θ + ε) on both splits, ε ~ N(0, σ²I), σ = ρ/(√p + √log n), so that ‖ε‖ seldom exceeds ρ.

    Rows: `num_parameters`, `num_samples`, `parameter_norm`, `loss` (L̂(θ), on n training examples), and per radius
    (coordinate = ρ) `noisy_train_loss` and `noisy_test_loss` (means over the draws; the error is two standard errors),
    `noise_tail` (the share of draws with ‖ε‖ > ρ) and `largest_loss` (of any example under any draw, or at θ).
    A network that is not finite has only the row `loss`.

    Args:
        rhos: radii ρ, in units of θ.
        draws: of ε, for the losses.
        tail_draws: of ‖ε‖, for its tail.
        samples: examples from the start of the training split; None: all of it.
        test_samples: examples from the start of the test split; None: all of it.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
    """

    quantities: ClassVar[str] = (
        "num_parameters num_samples parameter_norm loss noisy_train_loss noisy_test_loss noise_tail largest_loss"
    )

    rhos: Sequence[Positive] = (0.05, 0.2)
    draws: Annotated[int, Ge(2)] = 10
    tail_draws: Count = 1000
    samples: Count | None = 1000
    test_samples: Count | None = 1000
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_loss_settings(self)

    @torch.no_grad()
    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model, objective, generator = snapshot.model, snapshot.objective, snapshot.generator
        subset = snapshot.train.first(self.samples)
        network, theta = flat_network(model, subset, getattr(torch, self.dtype), self.batch_norm)
        held_out = snapshot.test.first(self.test_samples)
        splits = [Split(part.inputs.to(theta), part.labels.to(theta.device)) for part in (subset, held_out)]
        losses = [example_losses(network, theta, objective, split) for split in splits]
        if not losses[0].isfinite().all():
            return [Row("loss", losses[0].mean().item())]
        rows = [
            Row("num_parameters", theta.numel()),
            Row("num_samples", len(subset.labels)),
            Row("parameter_norm", torch.linalg.vector_norm(theta).item()),
            Row("loss", losses[0].mean().item()),
        ]
        for rho in self.rhos:
            sigma = float(perturbation_scale(rho, theta.numel(), len(subset.labels)))
            means, largest = [], max(float(values.max()) for values in losses)
            for _ in range(self.draws):
                noise = torch.randn(theta.shape, generator=generator, dtype=torch.float64).to(theta)
                noisy = [example_losses(network, theta + sigma * noise, objective, split) for split in splits]
                means.append([values.mean().item() for values in noisy])
                largest = max(largest, *(float(values.max()) for values in noisy))
            rows += self._rows(torch.tensor(means, dtype=torch.float64), largest, rho, sigma, theta.numel(), generator)
        return rows

    def _rows(
        self, means: Tensor, largest: float, rho: float, sigma: float, size: int, generator: torch.Generator
    ) -> list[Row]:
        errors = 2 * means.std(0) / len(means) ** 0.5
        tail = sum(
            int(sigma * torch.randn(size, generator=generator).norm().item() > rho) for _ in range(self.tail_draws)
        )
        return [
            Row("noisy_train_loss", means[:, 0].mean().item(), coordinate=rho, error=errors[0].item()),
            Row("noisy_test_loss", means[:, 1].mean().item(), coordinate=rho, error=errors[1].item()),
            Row("noise_tail", tail / self.tail_draws, coordinate=rho),
            Row("largest_loss", largest, coordinate=rho),
        ]


def example_losses(network: FlatNetwork, theta: Tensor, objective: Objective, split: Split) -> Tensor:
    """The loss of each example (n,) at θ."""
    outputs = network(theta, split.inputs)
    targets = objective.targets(split)
    return objective.losses(outputs.unsqueeze(1), targets.unsqueeze(1))
