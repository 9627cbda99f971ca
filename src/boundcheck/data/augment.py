"""Random crop, flip and cutout of whole batches as tensors, on the device of the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from boundcheck.settings import CountOrZero, settings

DRAWS = 5  # per image: crop row, crop column, flip, cutout row, cutout column


@settings
class Augment:
    """Random crop, horizontal flip and cutout, drawn independently for each image.

    Five random integers are drawn for every image, whichever augmentations are on. So switching cutout on does not
    change the crops. They come from a CPU generator, so a GPU and a CPU augment alike. Padding and cutout have the
    value 0: the mean colour of the training set if images are normalised to mean 0, black if they are in [0, 1].

    Args:
        crop: Zero padding in pixels on each side; a window of the original size is then cut at a uniform position.
        flip: Whether to mirror left and right with probability ½.
        cutout: Side in pixels of a square that is set to zero around a uniform pixel, clipped at the border.

    References:
        Krizhevsky, Sutskever, Hinton 2012; DeVries, Taylor 2017, arXiv:1708.04552 (cutout).
    """

    crop: CountOrZero = 0
    flip: bool = False
    cutout: CountOrZero = 0

    def __call__(self, images: Tensor, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        """Augment a batch.

        Args:
            images: (b, C, H, W), or (k, b, C, H, W) for a stack of seeds.
            generator: A CPU generator; for a stack one per seed, so that each slice is augmented as in a run of its
                own.

        Returns:
            New images of the same shape, dtype and device; `images` itself if no augmentation is on.
        """
        if not (self.crop or self.flip or self.cutout):
            return images
        height, width = images.shape[-2:]
        draws = _draws(images.shape[:-3], generator).to(images.device)
        batch = images.reshape(-1, *images.shape[-3:])  # (n, C, H, W) with n = b or k·b
        if self.crop or self.flip:
            batch = self._window(batch, draws)
        if self.cutout:
            rows, columns = self._cut(draws[:, 3], height), self._cut(draws[:, 4], width)
            batch = batch * ~(rows[:, None, :, None] & columns[:, None, None, :])
        return batch.view(images.shape)

    def _window(self, batch: Tensor, draws: Tensor) -> Tensor:
        """Crop and flip (n, C, H, W) in one gather from the padded images."""
        num_channels, height, width = batch.shape[1:]
        num_offsets = 2 * self.crop + 1
        rows = (draws[:, 0] % num_offsets)[:, None] + torch.arange(height, device=batch.device)  # (n, H)
        columns = torch.arange(width, device=batch.device).expand(len(batch), -1)  # (n, W)
        if self.flip:
            columns = torch.where((draws[:, 2] % 2 == 1)[:, None], width - 1 - columns, columns)
        columns = columns + (draws[:, 1] % num_offsets)[:, None]
        padded = F.pad(batch, (self.crop,) * 4).flatten(2)  # (n, C, (H+2p)(W+2p))
        pixels = rows[:, :, None] * (width + 2 * self.crop) + columns[:, None, :]  # (n, H, W)
        return padded.gather(2, pixels.view(-1, 1, height * width).expand(-1, num_channels, -1)).view(batch.shape)

    def _cut(self, draws: Tensor, side: int) -> Tensor:
        """Which of the `side` rows (or columns) the cutout square of each image covers: (n,) -> (n, side) bool."""
        first = (draws % side - self.cutout // 2)[:, None]
        position = torch.arange(side, device=draws.device)
        return (position >= first) & (position < first + self.cutout)


def _draws(shape: Sequence[int], generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
    """Random integers (n, DRAWS) below 2⁶³ for a batch of shape (b,) or (k, b); `% m` is uniform up to m/2⁶³."""
    *stack, size = shape
    num_slices = stack[0] if stack else 1
    generators = [generator] * num_slices if isinstance(generator, torch.Generator) else generator
    if len(generators) != num_slices:
        raise ValueError(f"generator: got {len(generators)}; allowed: one, or one for each of the {num_slices} slices")
    return torch.cat([torch.empty(size, DRAWS, dtype=torch.int64).random_(generator=each) for each in generators])
