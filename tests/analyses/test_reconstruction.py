"""The compression of an autoencoder beside principal components."""

import numpy as np
import pytest
import torch
from torch import nn

from boundcheck.analyses import ANALYSES
from boundcheck.analyses.psnr_hvs import psnr, psnr_hvs, ssim
from boundcheck.analyses.reconstruction import principal_components
from boundcheck.contracts import Snapshot, Split
from boundcheck.models import MLP, Autoencoder
from boundcheck.objectives import Reconstruction
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings

SHAPE = (1, 8, 8)


@pytest.fixture
def images(generator):
    low = torch.rand(40, 1, 4, 4, generator=generator, dtype=torch.float64)
    x = nn.functional.interpolate(low, scale_factor=2, mode="bilinear")
    return Split(x, torch.zeros(40, dtype=torch.int64))


def measure(model, images, generator, **settings):
    analysis = build(ANALYSES, {"kind": "reconstruction", **settings})
    return analysis.measure(
        Snapshot(model, Reconstruction(), images, Split(*(x[:6] for x in images)), generator, TrainingSettings())
    )


def test_the_metrics_are_means_over_the_test_images(images, generator):
    model = Autoencoder(3, [8]).build(SHAPE, 64, generator).double()
    rows = {row.quantity: row.value for row in measure(model, images, generator, pictures=0)}
    x = images.inputs[:6]
    outputs = model(x).reshape(x.shape).detach()
    for prefix, y in (("", outputs), ("pca_", principal_components(images.inputs, x, 3).clamp(0, 1))):
        assert rows[f"{prefix}mse"] == pytest.approx((x - y).square().mean().item())
        assert rows[f"{prefix}psnr"] == pytest.approx(psnr(x, y).mean().item())
        assert rows[f"{prefix}psnr_hvs"] == pytest.approx(psnr_hvs(x, y)[0].mean().item())
        assert rows[f"{prefix}psnr_hvs_m"] == pytest.approx(psnr_hvs(x, y)[1].mean().item())
        assert rows[f"{prefix}ssim"] == pytest.approx(ssim(x, y).mean().item())
    assert rows["psnr_hvs_m_over_pca"] == pytest.approx(rows["psnr_hvs_m"] - rows["pca_psnr_hvs_m"])
    assert (rows["code_size"], rows["compression_ratio"]) == (3, pytest.approx(64 / 3))
    assert rows["num_parameters"] == sum(p.numel() for p in model.parameters())
    assert "picture" not in rows


def test_pictures_are_the_pixels_of_images_spread_over_the_split(images, generator):
    model = Autoencoder(3, [8]).build(SHAPE, 64, generator).double()
    rows = measure(model, images, generator, pictures=2)
    half = 3  # of the six test images
    for name, values in (("picture", images.inputs), ("reconstruction", model(images.inputs).reshape(-1, *SHAPE))):
        found = {(row.coordinate, row.index): row.value for row in rows if row.quantity == name}
        assert len(found) == 2 * 64
        for number in range(2):
            flat = values[number * half].flatten().tolist()
            assert [found[number, pixel] for pixel in range(64)] == pytest.approx(flat)
    assert sum(row.quantity == "pca_reconstruction" for row in rows) == 2 * 64


def test_principal_components_are_the_best_linear_code(images):
    x = images.inputs.flatten(1).numpy()
    centred = x - x.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    expected = (u[:, :4] * s[:4]) @ vt[:4] + x.mean(0)
    found = principal_components(images.inputs, images.inputs, 4).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)
    everything = principal_components(images.inputs, images.inputs, 64)
    torch.testing.assert_close(everything, images.inputs, rtol=0, atol=1e-10)


def test_what_has_no_code_or_is_no_image_is_refused(images, generator):
    with pytest.raises(ValueError, match="without a code; allowed: autoencoder"):
        measure(MLP(1, 4).build(SHAPE, 64, generator).double(), images, generator)
    flat = images._replace(inputs=images.inputs.flatten(1))
    with pytest.raises(ValueError, match="allowed: images"):
        measure(Autoencoder(3, [8]).build((64,), 64, generator).double(), flat, generator)
