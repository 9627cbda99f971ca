"""The loss of a network as a function of one flat parameter vector, on the first examples of a split."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from boundcheck.contracts import LossFunction, Objective, Split
from boundcheck.models.binary_mlp import StackableBatchNorm

BatchNormMode = Literal["eval", "train", "recompute"]


def flat_loss(
    model: nn.Module,
    objective: Objective,
    split: Split,
    chunk_size: int | None = None,
    dtype: torch.dtype | None = None,
    batch_norm: BatchNormMode = "eval",
) -> tuple[list[LossFunction], Tensor]:
    """L(θ) = the mean loss over a split, as chunks that sum to it, and θ.

    Works on a copy of the network, so nothing that is measured touches the original. Dropout is off.

    Args:
        model: the network; θ is its trainable parameters in the order of `named_parameters`.
        objective: the mean loss of a batch.
        split: inputs (n, ...) and labels (n,).
        chunk_size: examples per chunk; None: one chunk.
        dtype: of θ and of floating-point inputs; None: the model's.
        batch_norm: "eval": stored statistics; "train": those of each chunk (then the loss depends on `chunk_size`);
            "recompute": statistics recomputed from the split, then as "eval".

    Returns: the chunks' losses, each θ (p,) -> (), weighted by n_chunk/n, and θ (p,).

    Raises:
        ValueError: a chunk size below 1, no example, or an unknown mode.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size: got {chunk_size}; allowed: >= 1, or none for one chunk")
    if batch_norm not in ("eval", "train", "recompute"):
        raise ValueError(f"batch_norm: got {batch_norm!r}; allowed: eval, train, recompute")
    network, theta = flat_network(model, split, dtype, batch_norm, chunk_size)
    split = _like(split, theta)
    size = len(split.inputs)
    chunks = [
        Split(split.inputs[i : i + (chunk_size or size)], split.labels[i : i + (chunk_size or size)])
        for i in range(0, size, chunk_size or size)
    ]
    return [_chunk_loss(network, objective, chunk, len(chunk.inputs) / size) for chunk in chunks], theta


def flat_network(
    model: nn.Module,
    split: Split,
    dtype: torch.dtype | None = None,
    batch_norm: BatchNormMode = "eval",
    chunk_size: int | None = None,
) -> tuple[FlatNetwork, Tensor]:
    """A copy of a network as a function of its parameters, and these; the arguments are those of `flat_loss`."""
    if not len(split.inputs):
        raise ValueError("split: got no example; allowed: at least one")
    model = copy.deepcopy(model).to(dtype=dtype).eval()
    if batch_norm == "recompute":
        split = _like(split, next(model.parameters()))
        recompute_batch_norm(model, split.inputs, chunk_size or len(split.inputs))
    if batch_norm == "train":
        for layer in batch_norm_layers(model):
            layer.train()
    network = FlatNetwork(model)
    return network, network.theta


class FlatNetwork:
    """(θ, inputs) ↦ outputs of a network; `theta` (p,) is where it stands, its trainable parameters in order."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        named = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
        self.theta = torch.cat([value.flatten() for value in named.values()])
        self._names = list(named)
        self._sizes = [value.numel() for value in named.values()]
        self._shapes = [value.shape for value in named.values()]

    def __call__(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Parameters (p,) and inputs (n, ...), converted to the parameters' precision -> outputs (n, ...)."""
        # one split, so that the backward pass gathers the gradient in one concatenation
        views = [part.view(shape) for part, shape in zip(theta.split(self._sizes), self._shapes, strict=True)]
        with sdpa_kernel(SDPBackend.MATH):  # the attention that has a second derivative
            return functional_call(self.model, dict(zip(self._names, views, strict=True)), (inputs,))


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, inputs: Tensor, batch_size: int) -> None:
    """Replace the BatchNorm statistics of `model` by averages over `inputs` (n, ...), in place.

    Every batch counts alike, so batches are made as equal as they can be: with one batch the statistics
    are exactly those of `inputs`; with more, the variance is the mean variance within a batch.
    """
    layers = batch_norm_layers(model)
    if not layers:
        return
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(layer, layer.momentum) for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    for number, batch in enumerate(inputs.tensor_split(-(-len(inputs) // batch_size)), start=1):
        for layer in layers:
            layer.momentum = 1 / number
        model(batch)
    for module, mode in modes:
        module.training = mode
    for layer, momentum in momenta:
        layer.momentum = momentum


def batch_norm_layers(model: nn.Module) -> list[_BatchNorm | StackableBatchNorm]:
    """The BatchNorm layers of a network that keep statistics."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm | StackableBatchNorm)]
    return [layer for layer in layers if isinstance(layer, StackableBatchNorm) or layer.track_running_stats]


def _chunk_loss(network: FlatNetwork, objective: Objective, chunk: Split, weight: float) -> LossFunction:
    targets = objective.targets(chunk)

    def loss(theta: Tensor) -> Tensor:
        return weight * objective.losses(network(theta, chunk.inputs), targets)

    return loss


def _like(split: Split, parameter: Tensor) -> Split:
    inputs, labels = split
    if inputs.is_floating_point():
        inputs = inputs.to(parameter.dtype)
    return Split(inputs.to(parameter.device), labels.to(parameter.device))
