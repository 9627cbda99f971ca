"""Image metrics against numbers of the package psnr_hvsm 0.3.0, and against their definitions written out."""

import math

import numpy as np
import pytest
import torch

from boundcheck.analyses.psnr_hvs import BLOCK, CAP, psnr, psnr_hvs, ssim


def image(shape, a, b):
    i, j = np.indices(shape)
    return 0.5 + 0.5 * np.sin(a * i + b * j + 0.3 * i * j)


def pair(shape):
    first = image(shape, 0.7, 1.1)
    return first, np.clip(first + 0.1 * image(shape, 2.3, 0.4) - 0.05, 0, 1)


@pytest.mark.parametrize(
    ("shape", "plain", "masked"),
    [
        ((8, 8), 32.76566702844951, 45.6434622787496),
        ((14, 14), 32.54836103796383, 46.98741168146367),
        ((28, 28), 31.682862322176476, 42.754877105153035),
        ((32, 24), 30.52651893439979, 41.55558602684216),
    ],
)
def test_the_numbers_of_the_package(shape, plain, masked):
    found = psnr_hvs(*(torch.tensor(x) for x in pair(shape)))
    assert [x.item() for x in found] == pytest.approx([plain, masked], rel=1e-12)


def test_the_package_itself_where_it_is_installed():
    oracle = pytest.importorskip("psnr_hvsm")
    for seed in range(5):
        rng = np.random.default_rng(seed)
        images = rng.random((2, 16, 24)) ** (1 + seed)
        found = psnr_hvs(*(torch.tensor(x) for x in images))
        assert [x.item() for x in found] == pytest.approx(list(oracle.psnr_hvs_hvsm(*images)), rel=1e-10)


def test_equal_images_have_the_cap_and_flat_blocks_no_mask():
    x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    x[0] = 0.25
    for values in (psnr(x, x), *psnr_hvs(x, x)):
        assert values.tolist() == [CAP] * 3
    torch.testing.assert_close(ssim(x, x), torch.ones(3, dtype=torch.float64))
    shifted = x[:1] + 0.1  # of a flat block only the constant coefficient differs, which nothing masks
    plain, masked = psnr_hvs(x[:1], shifted)
    expected = 10 * math.log10(BLOCK**2 / (0.1 * BLOCK * 1.608443) ** 2)
    assert plain.item() == pytest.approx(expected, rel=1e-6)
    assert masked.item() == pytest.approx(expected, rel=1e-6)


def test_leading_axes_are_images():
    x, y = torch.rand(2, 4, 3, 14, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for metric in (psnr, ssim, lambda a, b: psnr_hvs(a, b)[0], lambda a, b: psnr_hvs(a, b)[1]):
        whole = metric(x, y)
        assert whole.shape == (4, 3)
        assert whole[2, 1].item() == pytest.approx(metric(x[2, 1], y[2, 1]).item(), rel=1e-12)


def test_psnr_and_ssim_are_their_definitions():
    x, y = pair((9, 10))
    assert psnr(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(-10 * np.log10(((x - y) ** 2).mean()))
    values = []
    for i in range(3):
        for j in range(4):
            a, b = x[i : i + 7, j : j + 7].ravel(), y[i : i + 7, j : j + 7].ravel()
            (va, cov), (_, vb) = np.cov(a, b)
            top = (2 * a.mean() * b.mean() + 1e-4) * (2 * cov + 9e-4)
            values.append(top / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (va + vb + 9e-4)))
    assert ssim(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(np.mean(values), rel=1e-10)
