"""Callbacks: what is recorded during training, one file each, found by the name in `record`."""

from boundcheck.registry import lazy

CALLBACKS: dict[str, str] = {
    "loss": "boundcheck.callbacks.loss:LossRecorder",
    "accuracy": "boundcheck.callbacks.accuracy:AccuracyRecorder",
    "gradient_norm": "boundcheck.callbacks.gradient_norm:GradientNormRecorder",
}

__getattr__ = lazy(__name__, CALLBACKS)
