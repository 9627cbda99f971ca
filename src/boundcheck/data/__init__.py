"""Datasets: one file per family, found by kind."""

from boundcheck.registry import lazy

DATASETS: dict[str, str] = {
    "mnist5k": "boundcheck.data.embedded:MNIST5k",
    "digits": "boundcheck.data.embedded:Digits",
    "mnist": "boundcheck.data.downloads:MNIST",
    "fashion_mnist": "boundcheck.data.downloads:FashionMNIST",
    "cifar10": "boundcheck.data.downloads:CIFAR10",
    "cifar100": "boundcheck.data.downloads:CIFAR100",
    "image_folder": "boundcheck.data.folders:ImageFolder",
    "teacher": "boundcheck.data.teacher:Teacher",
}

__getattr__ = lazy(__name__, DATASETS)
