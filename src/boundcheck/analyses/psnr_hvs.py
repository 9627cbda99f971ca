"""How like two images are: PSNR, PSNR-HVS and PSNR-HVS-M, SSIM. Images (..., H, W) in [0, 1], one channel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8
CAP = 100.0  # dB, for images that are equal
# Contrast sensitivity, and the share of a coefficient's energy that masks noise, of an orthonormal 8x8 DCT.
_CSF = """
1.608443 2.339554 2.573509 1.608443 1.072295 .643377 .504610 .421887
2.144591 2.144591 1.838221 1.354478 .989811 .443708 .428918 .467911
1.838221 1.979622 1.608443 1.072295 .643377 .451493 .372972 .459555
1.838221 1.513829 1.169777 .887417 .504610 .295806 .321689 .415082
1.429727 1.169777 .695543 .459555 .378457 .236102 .249855 .334222
1.072295 .735288 .467911 .402111 .317717 .247453 .227744 .279729
.525206 .402111 .329937 .295806 .249855 .212687 .214459 .254803
.357432 .279729 .270896 .262603 .229778 .257351 .249855 .259950
"""
_MASK = """
.390625 .826446 1.0 .390625 .173611 .0625 .038447 .026874
.694444 .694444 .510204 .277008 .147929 .029727 .027778 .033058
.510204 .591716 .390625 .173611 .0625 .030779 .021004 .031888
.510204 .346021 .206612 .118906 .038447 .013212 .015625 .026015
.308642 .206612 .073046 .031888 .021626 .008417 .009426 .016866
.173611 .081633 .033058 .024414 .015242 .009246 .007831 .011815
.041649 .024414 .016437 .013212 .009426 .006830 .006944 .009803
.019290 .011815 .011080 .010412 .007972 .010000 .009426 .010203
"""


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """10 log₁₀(1/MSE) of each image (...), in dB; at most 100."""
    return _decibel((first - second).double().square().mean((-2, -1)))


def psnr_hvs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR-HVS and PSNR-HVS-M of each image (...), in dB; at most 100.

    For each 8x8 block with coefficients A, B of the orthonormal DCT-II, u = |A − B|:
        PSNR-HVS: S = mean of (u CSF)² over all coefficients;
        PSNR-HVS-M: outside the constant coefficient u is lowered first by mask/MASK, to 0 at least, where mask is the
        larger of m(a), m(b), m(z) = √(p Σ_{(k,l)≠0} ẑ² MASK)/32 and p = Σ of v over the four quarters over v(z),
        v = variance (of n − 1) times the number of pixels, p = 0 where v(z) = 0.
    The value is 10 log₁₀(1/S). Sides that 8 does not divide are filled up with zeros.

    References:
        Egiazarian et al. 2006, New full-reference quality metrics based on HVS; Ponomarenko et al. 2007, On
        between-coefficient contrast masking of DCT basis functions.
    """
    blocks = [_blocks(image) for image in (first, second)]
    transformed = [_cosine_transform(block) for block in blocks]
    csf, mask = _table(_CSF, blocks[0]), _table(_MASK, blocks[0])
    difference = (transformed[0] - transformed[1]).abs()  # (..., num_blocks, 8, 8)
    masking = torch.maximum(*(_masking(z, c, mask) for z, c in zip(blocks, transformed, strict=True)))
    masked = (difference - masking[..., None, None] / mask).clamp_min(0)
    masked[..., 0, 0] = difference[..., 0, 0]
    plain, with_mask = ((u * csf).square().mean((-3, -2, -1)) for u in (difference, masked))
    return _decibel(plain), _decibel(with_mask)


def ssim(first: Tensor, second: Tensor, side: int = 7) -> Tensor:
    """Structural similarity of each image (...), in [−1, 1]: the mean over all windows of `side` pixels, unweighted.

    ((2μ₁μ₂ + c₁)(2σ₁₂ + c₂))/((μ₁² + μ₂² + c₁)(σ₁² + σ₂² + c₂)), c₁ = 0.01², c₂ = 0.03², (co)variances of n − 1.

    References: Wang, Bovik, Sheikh, Simoncelli 2004, Image quality assessment.
    """
    shape = first.shape[:-2]
    x, y = (image.double().reshape(-1, 1, *image.shape[-2:]) for image in (first, second))

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, side, stride=1)

    unbiased = side**2 / (side**2 - 1)
    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y = unbiased * (mean(x * x) - mu_x**2), unbiased * (mean(y * y) - mu_y**2)
    covariance = unbiased * (mean(x * y) - mu_x * mu_y)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mu_x * mu_y + c1) * (2 * covariance + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return similarity.mean((-3, -2, -1)).reshape(shape)


def _decibel(error: Tensor) -> Tensor:
    return (-10 * torch.log10(error)).clamp_max(CAP)


def _table(text: str, like: Tensor) -> Tensor:
    return torch.tensor([float(word) for word in text.split()], dtype=torch.float64, device=like.device).view(8, 8)


def _blocks(image: Tensor) -> Tensor:
    """(..., H, W) -> (..., num_blocks, 8, 8) float64."""
    height, width = image.shape[-2:]
    padded = F.pad(image.double(), (0, -width % BLOCK, 0, -height % BLOCK))
    return padded.unfold(-2, BLOCK, BLOCK).unfold(-2, BLOCK, BLOCK).flatten(-4, -3)


def _cosine_transform(blocks: Tensor) -> Tensor:
    n = torch.arange(BLOCK, dtype=torch.float64, device=blocks.device)
    basis = torch.cos(math.pi * n[:, None] * (2 * n + 1) / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis @ blocks @ basis.mT


def _masking(blocks: Tensor, coefficients: Tensor, mask: Tensor) -> Tensor:
    """m(z) of each block (..., num_blocks)."""
    energy = coefficients.square() * mask
    energy = energy.sum((-2, -1)) - energy[..., 0, 0]
    half = BLOCK // 2
    quarters = blocks.unfold(-2, half, half).unfold(-2, half, half)  # (..., 2, 2, 4, 4)
    total = blocks.var((-2, -1)) * BLOCK**2
    parts = (quarters.var((-2, -1)) * half**2).sum((-2, -1))
    ratio = torch.where(total > 0, parts / total, 0.0)
    return (energy * ratio).clamp_min(0).sqrt() / 32
