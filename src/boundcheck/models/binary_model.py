"""Common properties of the binary networks, which methods and claims use."""

from __future__ import annotations

from boundcheck.models.binary_layers import Init, Scaling, WeightGradient

TORCH_EPS = 1e-5
LARGEST_NEGLIGIBLE_EPS = 1e-20


class BinaryModel:
    """The base class of all binary networks: properties of their latent weights that the theory needs."""

    init: Init
    init_scale: float
    weight_gradient: WeightGradient
    scaling: Scaling

    @property
    def normalisation_eps(self) -> float:
        """The ϵ of the batch normalisation after every binary layer."""
        return TORCH_EPS

    @property
    def passes_gradient_on(self) -> bool:
        """Whether the gradient of a latent weight is that of its bit: not clipped at 1, and not divided by a scale."""
        return self.weight_gradient == "identity" and self.scaling != "form_2"

    @property
    def cancels_scale(self) -> bool:
        """Whether the scale of a layer has no effect on the outputs: no scale, or a normalisation with ϵ ≈ 0."""
        return self.scaling == "none" or self.normalisation_eps < LARGEST_NEGLIGIBLE_EPS

    def latent_variance(self, factor: float = 1.0) -> float:
        """Mean square of the initial latent weights: c²/3 for U(−c, c) and for U(0, c), 0 for a start of zeros.

        Args:
            factor: the factor by which a method multiplies the initial latent weights.
        """
        return 0.0 if self.init == "zero" else (self.init_scale * factor) ** 2 / 3
