from __future__ import annotations

import pytest
import torch

from boundcheck.data.augment import DRAWS, Augment

IMAGES = torch.randn(40, 3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def reference(images, settings, draws):
    """Pixel by pixel, image by image."""
    result = torch.zeros_like(images)
    height, width = images.shape[-2:]
    for image, out, (down, across, mirrored, row, column) in zip(images, result, draws.tolist(), strict=True):
        top, left = down % (2 * settings.crop + 1), across % (2 * settings.crop + 1)
        first_row, first_column = row % height - settings.cutout // 2, column % width - settings.cutout // 2
        for r in range(height):
            for c in range(width):
                y = r + top - settings.crop
                x = (width - 1 - c if settings.flip and mirrored % 2 else c) + left - settings.crop
                in_hole = 0 <= r - first_row < settings.cutout and 0 <= c - first_column < settings.cutout
                if 0 <= y < height and 0 <= x < width and not in_hole:
                    out[:, r, c] = image[:, y, x]
    return result


@pytest.mark.parametrize(
    "settings",
    [
        Augment(crop=2),
        Augment(crop=9),
        Augment(flip=True),
        Augment(cutout=3),
        Augment(cutout=4),
        Augment(cutout=50),
        Augment(crop=1, flip=True, cutout=2),
    ],
)
def test_each_pixel_comes_from_where_it_should(settings):
    draws = torch.empty(40, DRAWS, dtype=torch.int64).random_(generator=generator())
    assert settings(IMAGES, generator()).equal(reference(IMAGES, settings, draws))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_the_type_of_the_images_is_kept(dtype):
    images = (IMAGES * 50).abs().to(dtype)
    augment = Augment(crop=2, flip=True, cutout=3)
    assert augment(images, generator()).dtype == dtype
    assert augment(images, generator()).double().equal(augment(images.double(), generator()))


def test_nothing_to_do():
    assert Augment()(IMAGES, generator()) is IMAGES


def test_the_images_given_are_not_changed():
    before = IMAGES.clone()
    Augment(crop=1, flip=True, cutout=2)(IMAGES, generator())
    Augment(cutout=2)(IMAGES, generator())
    assert IMAGES.equal(before)


def test_a_stack_gets_what_each_seed_gets_alone():
    stack = IMAGES.view(4, 10, 3, 7, 6)
    augment = Augment(crop=2, flip=True, cutout=3)
    generators = [generator(seed) for seed in range(4)]
    together = [augment(stack, generators) for _ in range(2)]
    for seed in range(4):
        alone = generator(seed)
        for batch in together:
            assert batch[seed].equal(augment(stack[seed], alone))


def test_one_generator_serves_the_slices_in_turn():
    stack, augment, one = IMAGES.view(4, 10, 3, 7, 6), Augment(crop=2), generator()
    assert augment(stack, generator()).equal(torch.stack([augment(each, one) for each in stack]))


def test_a_wrong_number_of_generators_is_refused():
    with pytest.raises(ValueError, match=r"generator: got 3; allowed: one, or one for each of the 4 slices"):
        Augment(crop=2)(IMAGES.view(4, 10, 3, 7, 6), [generator()] * 3)


def test_switching_one_on_does_not_change_another():
    images = torch.rand(200, 1, 12, 12, generator=generator()) + 1
    plain, holed = (Augment(crop=2, flip=True, cutout=cutout)(images, generator()) for cutout in (0, 3))
    kept = holed != 0
    assert holed[kept].equal(plain[kept])
    assert (~kept & (plain != 0)).flatten(1).sum(1).max() == 9


def test_every_place_is_equally_likely():
    """Counts of 30,000 draws over the 25 windows, 2 directions and 36 holes, by a chi-square bound that 1e-6 exceed."""
    size = 30_000
    images = torch.arange(36.0).view(1, 1, 6, 6).expand(size, -1, -1, -1) + 1
    cropped = Augment(crop=2)(images, generator())[:, 0, 2, 2]  # the pixel that came to the middle names the window
    flipped = Augment(flip=True)(images, generator())[:, 0, 0, 0]
    holes = (Augment(cutout=1)(images, generator()) == 0).flatten(1).int().argmax(1)
    for outcome, number, bound in ((cropped, 25, 74.0), (flipped, 2, 24.0), (holes, 36, 92.0)):
        _, counts = outcome.unique(return_counts=True)
        assert len(counts) == number
        expected = size / number
        assert ((counts - expected) ** 2 / expected).sum() < bound


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_augments_alike():
    augment = Augment(crop=2, flip=True, cutout=3)
    assert augment(IMAGES.cuda(), generator()).cpu().equal(augment(IMAGES, generator()))
