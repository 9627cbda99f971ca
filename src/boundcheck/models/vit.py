"""Vision transformers of Dosovitskiy et al., with an attention that has second derivatives."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.models.construction import allocate, initialize_linear
from boundcheck.settings import Depth, Factor, Width, settings


class Size(NamedTuple):
    """Features of a token, encoder blocks, attention heads."""

    dim: int
    depth: int
    heads: int


SIZES = {"ti": Size(192, 12, 3), "s": Size(384, 12, 6), "b": Size(768, 12, 12)}


class SelfAttention(nn.Module):
    """softmax(QKᵀ/√d) V for each head, d = dim / heads, and a linear layer over the heads.

    `explicit` uses plain matrix products, so that all derivatives exist on all devices. `fused` uses torch's kernels,
    which are faster on a GPU. Of these only the kernel "math" has a second derivative, so second-order methods and
    analyses select it for the forward pass.
    """

    def __init__(self, dim: int, heads: int, attention: Literal["explicit", "fused"]) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, dim) -> (b, t, dim)."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in self.qkv(tokens).chunk(3, -1))
        if self.attention == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)  # (b, heads, t, d)
        else:
            mixed = (q / math.sqrt(q.shape[-1]) @ k.mT).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, attention: Literal["explicit", "fused"]) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = SelfAttention(dim, heads, attention)
        self.norm_2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, dim) -> (b, t, dim)."""
        tokens = tokens + self.attention(self.norm_1(tokens))
        return tokens + self.mlp(self.norm_2(tokens))


class VisionTransformer(nn.Module):
    """Embeds the patches, adds a class token and positions, applies the encoder, and classifies by the class token.

    Args:
        input_shape: (channels, height, width), sides divisible by `patch`.
        patch: side of a patch, pixels.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        patch: int,
        size: Size,
        mlp_dim: int,
        num_outputs: int,
        attention: Literal["explicit", "fused"],
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        num_tokens = (height // patch) * (width // patch) + 1
        self.patches = nn.Conv2d(channels, size.dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        self.positions = nn.Parameter(torch.zeros(1, num_tokens, size.dim))
        blocks = (EncoderBlock(size.dim, size.heads, mlp_dim, attention) for _ in range(size.depth))
        self.encoder = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(size.dim, eps=1e-6)
        self.head = nn.Linear(size.dim, num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Images (b, channels, height, width) -> (b, num_outputs)."""
        patches = self.patches(images).flatten(2).mT  # (b, t - 1, dim)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1)
        tokens = self.encoder(tokens + self.positions)
        return self.head(self.norm(tokens)[:, 0])


@settings
class ViT:
    """A vision transformer of a published size, or with given dimensions.

    Args:
        patch: side of a patch in pixels; 4 for images of 32 pixels, 16 or 32 for images of 224 pixels.
        size: `ti`, `s` or `b` for (dim, depth, heads) = (192, 12, 3), (384, 12, 6), (768, 12, 12); None: `dim`, `depth`
            and `heads` must be given.
        dim: features of a token.
        depth: number of encoder blocks.
        heads: number of attention heads; must divide `dim`.
        mlp_ratio: hidden units of the MLP of a block, as a multiple of `dim`.
        zero_head: initialise the head with zeros, as published; otherwise as torch does by default.
        attention: `explicit`: plain matrix products; `fused`: faster in first-order training on a GPU.

    References:
        Dosovitskiy et al. 2021, An image is worth 16x16 words, arXiv:2010.11929.
        Touvron et al. 2021, Training data-efficient image transformers, arXiv:2012.12877 (the sizes ti and s).
    """

    patch: Width
    size: Literal["ti", "s", "b"] | None = None
    dim: Width | None = None
    depth: Depth | None = None
    heads: Width | None = None
    mlp_ratio: Factor = 4
    zero_head: bool = True
    attention: Literal["explicit", "fused"] = "explicit"
    activation: ClassVar[str] = "gelu"
    stackable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        sizes = {"dim": self.dim, "depth": self.depth, "heads": self.heads}
        if self.size is None:
            for name, value in sizes.items():
                if value is None:
                    raise ValueError(f"{name}: got None; allowed: a whole number >= 1, where there is no size")
        elif any(value is not None for value in sizes.values()):
            raise ValueError(f"size: got {self.size!r} and dim, depth or heads; allowed: one or the other")
        if self.dimensions.dim % self.dimensions.heads:
            raise ValueError(f"heads: got {self.heads}; allowed: a divisor of dim {self.dim}")

    @property
    def dimensions(self) -> Size:
        """Features, blocks and heads, whichever way they were given."""
        return SIZES[self.size] if self.size else Size(self.dim or 0, self.depth or 0, self.heads or 0)

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device: shapes without values.

        Raises:
            ValueError: the inputs are no images, or cannot be cut into patches.
        """
        if len(input_shape) != 3 or any(side % self.patch for side in input_shape[1:]):
            allowed = f"(channels, height, width) with sides divisible by the patch {self.patch}"
            raise ValueError(f"input_shape: got {input_shape}; allowed: {allowed}")
        mlp_dim = round(self.mlp_ratio * self.dimensions.dim)
        with torch.device("meta"):
            return VisionTransformer(input_shape, self.patch, self.dimensions, mlp_dim, num_outputs, self.attention)

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, its values drawn from the generator.

        Patches truncated N(0, 1/fan_in); positions N(0, 0.02²); attention's inputs and the perceptrons Xavier
        uniform; attention's output as torch does by default; biases 0, those of the perceptrons N(0, 10⁻¹²).
        """
        network = allocate(self.architecture(input_shape, num_outputs))
        assert isinstance(network, VisionTransformer)
        _initialize_stem(network, generator)
        for block in network.encoder:
            assert isinstance(block, EncoderBlock)
            _initialize_block(block, generator)
        network.norm.reset_parameters()
        initialize_linear(network.head, generator)
        if self.zero_head:
            nn.init.zeros_(network.head.weight)
            nn.init.zeros_(network.head.bias)
        return network


def _initialize_stem(network: VisionTransformer, generator: torch.Generator) -> None:
    fan_in = network.patches.weight[0].numel()
    nn.init.trunc_normal_(network.patches.weight, std=math.sqrt(1 / fan_in), generator=generator)
    for zeros in (network.patches.bias, network.class_token):
        if zeros is not None:
            zeros.zero_()
    network.positions.normal_(0, 0.02, generator=generator)


def _initialize_block(block: EncoderBlock, generator: torch.Generator) -> None:
    block.norm_1.reset_parameters()
    block.norm_2.reset_parameters()
    nn.init.xavier_uniform_(block.attention.qkv.weight, generator=generator)
    nn.init.zeros_(block.attention.qkv.bias)
    initialize_linear(block.attention.out, generator)
    nn.init.zeros_(block.attention.out.bias)
    for layer in block.mlp:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            layer.bias.normal_(0, 1e-6, generator=generator)
