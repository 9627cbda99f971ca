"""What the kinds of binary networks say about their latent weights; the methods and the claims ask for it."""

from __future__ import annotations

from boundcheck.models.binary_layers import Init, Scaling, WeightGradient

TORCH_EPS = 1e-5
LARGEST_NEGLIGIBLE_EPS = 1e-20


class BinaryModel:
    """The part that all kinds of binary networks share: what theory asks about their latent weights."""

    init: Init
    init_scale: float
    weight_gradient: WeightGradient
    scaling: Scaling

    @property
    def normalisation_eps(self) -> float:
        """The ϵ of the batch normalisation behind every binary layer."""
        return TORCH_EPS

    @property
    def passes_gradient_on(self) -> bool:
        """Whether a latent weight gets the gradient of its bit as it is: not cut off at 1, not divided by a scale."""
        return self.weight_gradient == "identity" and self.scaling != "form_2"

    @property
    def cancels_scale(self) -> bool:
        """Whether the scale of a layer has no effect on the outputs: there is none, or a normalisation with ϵ ≈ 0."""
        return self.scaling == "none" or self.normalisation_eps < LARGEST_NEGLIGIBLE_EPS

    def latent_variance(self, factor: float = 1.0) -> float:
        """Mean square of the initial latent weights: c²/3 for U(−c, c) and for U(0, c), 0 for a start of zeros.

        Args:
            factor: what a method multiplies the initial latent weights by.
        """
        return 0.0 if self.init == "zero" else (self.init_scale * factor) ** 2 / 3
