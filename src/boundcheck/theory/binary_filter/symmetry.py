"""Which changes of the latent hyperparameters change no bit: the magnitude of a latent weight has no meaning.

Without clipping, w enters an update only as λw and every step is proportional to the learning rate, for SGD (with
momentum, dampening or Nesterov's), Adam and AdamW. So the start, the learning rate and the weight decay can be traded
for one another. For s a power of two even the float arithmetic commutes with the change. Derived here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


class Latent(NamedTuple):
    """The magnitudes of a latent training: scale of the initial weights, learning rate ε, weight decay λ."""

    init_scale: FloatArray
    lr: FloatArray
    weight_decay: FloatArray


def rescaled(latent: Latent, scale: npt.ArrayLike) -> Latent:
    """(s w_0, s ε, λ/s): equal bits at every step, for s > 0.

    Proof: by induction the latent weights are s times as large; λw, so the gradient with its decay, is the same, and
    the step is s times as large. Raising ε tenfold and lowering λ tenfold at the same w_0 is another training.

    Raises:
        ValueError: a scale that is not positive.
    """
    return _rescaled(latent, scale, 1)


def rescaled_with_form_2(latent: Latent, scale: npt.ArrayLike) -> Latent:
    """(s w_0, s² ε, λ/s²): equal bits for layers scaled by mean|w| whose latent gradient is divided by it (form 2).

    There the gradient is 1/s as large, so that the step is s times as large. Needs a normalisation behind the layer
    that does not feel the scale (its ϵ → 0).

    Raises:
        ValueError: a scale that is not positive.
    """
    return _rescaled(latent, scale, 2)


def same_start(lr: npt.ArrayLike, reference_lr: npt.ArrayLike) -> FloatArray:
    """By how much w_0 must grow when the learning rate does, at a fixed ε λ, for the bits to stay: ε/ε_ref."""
    lr, reference_lr = floats(lr, reference_lr)
    return lr / reference_lr


def _rescaled(latent: Latent, scale: npt.ArrayLike, power: int) -> Latent:
    init_scale, lr, weight_decay, scale = floats(*latent, scale)
    reject("scale", scale, scale <= 0, "> 0")
    return Latent(init_scale * scale, lr * scale**power, weight_decay / scale**power)
