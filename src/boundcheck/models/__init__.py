"""Architectures: one file each. A registry finds them by kind."""

from boundcheck.registry import lazy

MODELS: dict[str, str] = {
    "autoencoder": "boundcheck.models.autoencoder:Autoencoder",
    "dag_net": "boundcheck.models.dag_net:DAGNet",
    "mlp": "boundcheck.models.mlp:MLP",
    "pyramidnet": "boundcheck.models.pyramidnet:PyramidNet",
    "resnet": "boundcheck.models.resnet:ResNet",
    "vit": "boundcheck.models.vit:ViT",
    "weight_norm_mlp": "boundcheck.models.weight_norm_mlp:WeightNormMLP",
    "weight_normed": "boundcheck.models.weight_normed:WeightNormed",
    "wide_resnet": "boundcheck.models.wide_resnet:WideResNet",
    "binary_mlp": "boundcheck.models.binary_mlp:BinaryMLP",
    "birealnet": "boundcheck.models.birealnet:BiRealNet",
    "reactnet": "boundcheck.models.reactnet:ReActNet",
}

__getattr__ = lazy(__name__, MODELS)
