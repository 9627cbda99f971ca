"""How well an autoencoder compresses images, beside principal components with a code of the same size."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from boundcheck.analyses.psnr_hvs import psnr, psnr_hvs, ssim
from boundcheck.contracts import Row, Snapshot
from boundcheck.optional_members import HasCode
from boundcheck.settings import Count, CountOrZero, settings

SMALLEST_SIDE = 7  # of SSIM's window


@settings
class ReconstructionQuality:
    """Means over the test images, which lie in [0, 1]: `mse`, `psnr`, `psnr_hvs`, `psnr_hvs_m` (dB), `ssim`.

    The same with the prefix `pca_` for principal components of the training images, and, as a difference of the means,
    `psnr_hvs_m_over_pca` and `psnr_over_pca`. `code_size`, `compression_ratio` = pixels over code size,
    `num_parameters`. `picture`, `reconstruction`, `pca_reconstruction`: the pixels (index) of test images (coordinate)
    that are spread evenly over them. Reconstructions are clipped to [0, 1]. Channels are taken one by one.

    Args:
        pictures: how many test images are kept as pictures.
        samples: test images in use; None: all.
    """

    quantities: ClassVar[str] = (
        "mse psnr psnr_hvs psnr_hvs_m ssim pca_* psnr_over_pca psnr_hvs_m_over_pca code_size compression_ratio "
        "num_parameters picture reconstruction"
    )

    pictures: CountOrZero = 8
    samples: Count | None = None

    @torch.no_grad()
    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis.

        Raises:
            ValueError: a network without a code, or inputs that are no images.
        """
        model = snapshot.model
        code_size = model.code_size if isinstance(model, HasCode) else None
        if code_size is None:
            raise ValueError("model: got a network without a code; allowed: autoencoder")
        images = snapshot.test.first(self.samples).inputs
        if images.dim() != 4:
            raise ValueError(f"inputs: got shape {tuple(images.shape[1:])}; allowed: images (channels, height, width)")
        mode, _ = model.training, model.eval()
        outputs = {
            "": model(images).reshape(images.shape),
            "pca_": principal_components(snapshot.train.inputs, images, code_size),
        }
        model.train(mode)
        quality = {prefix: _quality(images, output.clamp(0, 1)) for prefix, output in outputs.items()}
        rows = [Row(f"{prefix}{name}", value) for prefix, values in quality.items() for name, value in values.items()]
        for name in ("psnr", "psnr_hvs_m"):
            rows.append(Row(f"{name}_over_pca", quality[""][name] - quality["pca_"][name]))
        num_inputs = images[0].numel()
        rows += [Row("code_size", code_size), Row("compression_ratio", num_inputs / code_size)]
        rows.append(Row("num_parameters", sum(p.numel() for p in model.parameters())))
        pictures = {"picture": images, "reconstruction": outputs[""], "pca_reconstruction": outputs["pca_"]}
        return rows + [row for name, values in pictures.items() for row in self._pixels(name, values)]

    def _pixels(self, name: str, images: Tensor) -> list[Row]:
        num = min(self.pictures, len(images))
        chosen = [place * len(images) // num for place in range(num)]
        flat = images[chosen].flatten(1).clamp(0, 1).double().tolist()
        return [
            Row(name, value, pixel, float(number))
            for number, image in enumerate(flat)
            for pixel, value in enumerate(image)
        ]


def principal_components(train: Tensor, images: Tensor, size: int) -> Tensor:
    """Images from their first `size` principal components: the best linear code. Axes and mean are those of `train`."""
    x = train.flatten(1).double()
    mean = x.mean(0)
    _, vectors = torch.linalg.eigh((x - mean).mT @ (x - mean))
    axes = vectors[:, max(x.shape[1] - size, 0) :]  # (d, size)
    code = (images.flatten(1).double() - mean) @ axes
    return (code @ axes.mT + mean).reshape(images.shape)


def _quality(images: Tensor, outputs: Tensor) -> dict[str, float]:
    plain, with_mask = psnr_hvs(images, outputs)
    values = {
        "mse": (images - outputs).double().square(),
        "psnr": psnr(images, outputs),
        "psnr_hvs": plain,
        "psnr_hvs_m": with_mask,
    }
    if min(images.shape[-2:]) >= SMALLEST_SIDE:
        values["ssim"] = ssim(images, outputs)
    return {name: value.mean().item() for name, value in values.items()}
