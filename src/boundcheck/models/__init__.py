"""Architectures: one file each, found by kind."""

from boundcheck.registry import lazy

MODELS: dict[str, str] = {
    "mlp": "boundcheck.models.mlp:MLP",
    "resnet": "boundcheck.models.resnet:ResNet",
}

__getattr__ = lazy(__name__, MODELS)
