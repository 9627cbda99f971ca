"""Directed acyclic graphs of layers, as a list of parents (input layers) for each layer 1 … L.

Layers are numbered in topological order; 0 is the input and L the output. `parents[l - 1]` are the parents of layer l,
whose numbers are all below l. So the graph has no cycle, and every DAG can be numbered in this way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Parents = tuple[tuple[int, ...], ...]


def sequential(num_layers: int) -> Parents:
    """P(l) = {l − 1} for l = 1 … `num_layers`."""
    return tuple((layer - 1,) for layer in range(1, num_layers + 1))


def complete_dag(num_layers: int) -> Parents:
    """P(l) = {0 … l − 1}: every forward edge, between adjacent and non-adjacent layers."""
    return tuple(tuple(range(layer)) for layer in range(1, num_layers + 1))


def autoencoder_dag(num_encoder: int, num_decoder: int) -> Parents:
    """Two complete DAGs, of layers 0 … c and c … L, where c = `num_encoder` is the code. No edge bypasses the code."""
    code = num_encoder
    decoder = complete_dag(num_decoder)
    return complete_dag(num_encoder) + tuple(tuple(code + parent for parent in parents) for parents in decoder)


def checked(parents: Sequence[Sequence[int]], num_layers: int) -> Parents:
    """The parents of layers 1 … `num_layers`, sorted.

    Raises:
        ValueError: the number of lists is wrong, a parent is not below its layer or is listed twice, a layer has no
            parent, or a layer other than the output is not a parent of any layer.
    """
    if len(parents) != num_layers:
        raise ValueError(f"parents: got {len(parents)} lists; allowed: {num_layers}, one for each layer but the input")
    for layer, of_layer in enumerate(parents, start=1):
        is_valid = all(isinstance(parent, int) and 0 <= parent < layer for parent in of_layer)
        if not (is_valid and of_layer and len(set(of_layer)) == len(of_layer)):
            allowed = f"at least one layer from 0 to {layer - 1}, each once"
            raise ValueError(f"parents: got {list(of_layer)} for layer {layer}; allowed: {allowed}")
    unused = set(range(num_layers)) - {parent for of_layer in parents for parent in of_layer}
    if unused:
        raise ValueError(f"parents: layer {min(unused)} feeds no layer; allowed: every layer but the last feeds one")
    return tuple(tuple(sorted(of_layer)) for of_layer in parents)


def paths(parents: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Every path from the input to the output, as layers; their number grows exponentially in a complete DAG."""

    def ending_at(layer: int) -> Iterator[tuple[int, ...]]:
        """Every path from the input to a layer."""
        if layer == 0:
            yield (0,)
        else:
            for parent in parents[layer - 1]:
                for path in ending_at(parent):
                    yield (*path, layer)

    return ending_at(len(parents))


def num_parameters(widths: Sequence[int], parents: Sequence[Sequence[int]], bias: bool) -> int:
    """Weights n_l · n_j of every edge (l, j), and n_l biases."""
    inputs = (sum(widths[parent] for parent in of_layer) + bias for of_layer in parents)
    return sum(width * total for width, total in zip(widths[1:], inputs, strict=True))
