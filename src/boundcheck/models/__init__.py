"""Architectures: one file each, found by kind."""

from boundcheck.registry import lazy

MODELS: dict[str, str] = {
    "mlp": "boundcheck.models.mlp:MLP",
    "pyramidnet": "boundcheck.models.pyramidnet:PyramidNet",
    "resnet": "boundcheck.models.resnet:ResNet",
    "vit": "boundcheck.models.vit:ViT",
    "wide_resnet": "boundcheck.models.wide_resnet:WideResNet",
}

__getattr__ = lazy(__name__, MODELS)
