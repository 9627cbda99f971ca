"""What a cell's spec stands for: its objective, method and networks, as training and measuring both need them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boundcheck.contracts import Method, Splits
from boundcheck.data import DATASETS
from boundcheck.data.arrays import read_arrays
from boundcheck.data.view import View
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import VIEW_KEYS, build
from boundcheck.seeds import generator_for

Floats = Callable[[Tensor], Tensor]
PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


def settings_of(variant: Mapping[str, Any]) -> dict[str, Any]:
    """A variant's kind and hyperparameters, without its name and its training overrides."""
    return {key: value for key, value in variant.items() if key not in ("name", "training", *VIEW_KEYS)}


def view_of(dataset: Mapping[str, Any]) -> View:
    """Which examples a dataset variant uses, and how they are normalised."""
    return View(**{key: dataset[key] for key in VIEW_KEYS if key in dataset})


def load_splits(dataset: Mapping[str, Any], arrays: Path, device: str, dtype: torch.dtype) -> tuple[Splits, Floats]:
    """The cell's examples, and what turns a batch of their inputs into the network's inputs on the device."""
    view = view_of(dataset)
    splits = view.apply(read_arrays(arrays.parent), device, dtype)
    return splits, view.batch(splits, device, dtype)


def teacher_of(spec: Mapping[str, Any], splits: Splits, device: str) -> Callable[[Tensor], Tensor] | None:
    """What the cell's network learns from beside the labels, as a function of its inputs; None without distillation."""
    variant = dict(spec["training"].get("teacher", {}))
    if not variant:
        return None
    file, precision = Path(variant.pop("file")), PRECISIONS[spec["training"]["precision"]]
    teacher = build(DATASETS, settings_of(variant))
    return teacher.function(file, splits, view_of(spec["dataset"]).normalise, device, precision)


def build_method(spec: Mapping[str, Any]) -> Method:
    """The cell's method."""
    return build(METHODS, settings_of(spec["method"]))


def num_outputs(loss: str, splits: Splits) -> int:
    """Numbers that a network gives: an input's, one for ±1 (two classes under the square loss), or one a class."""
    if loss == "reconstruction":
        return math.prod(splits.input_shape)
    return 1 if loss == "square" and splits.num_classes == 2 else splits.num_classes


def build_network(spec: Mapping[str, Any], splits: Splits, seed: int) -> nn.Module:
    """The network of one seed at its start, on the CPU, as the method wants it (reparametrised, binarised)."""
    generator = generator_for("init", spec["dataset"]["name"], spec["model"]["name"], seed)
    outputs = num_outputs(spec["training"]["loss"], splits)
    net = build(MODELS, settings_of(spec["model"])).build(splits.input_shape, outputs, generator)
    return build_method(spec).prepare(net)
