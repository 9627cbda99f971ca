from __future__ import annotations

import io

import numpy as np
import pytest
import torchvision.transforms.v2 as transforms
from PIL import Image

from boundcheck.data import pictures
from boundcheck.data.errors import DataError
from boundcheck.data.pictures import picture_size

PIXELS = np.random.default_rng(0).integers(0, 256, (41, 60, 3), dtype=np.uint8)


def read_picture(*args, **settings):
    return pictures.read_picture(*args, **settings).pixels


def content(array, format_="PNG", **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(buffer, format_, **options)
    return buffer.getvalue()


def test_pixels_are_kept():
    assert np.array_equal(read_picture(content(PIXELS), "x", 3), PIXELS.transpose(2, 0, 1))
    assert np.array_equal(read_picture(content(PIXELS[..., 0]), "x", 1), PIXELS[None, ..., 0])
    assert picture_size(content(PIXELS), "x") == (41, 60)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_are_converted(mode, channels):
    picture = Image.fromarray(PIXELS).convert(mode)
    expected = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(41, 60, channels)
    found = read_picture(content(picture, "TIFF" if mode == "CMYK" else "PNG"), "x", channels)
    assert np.array_equal(found, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS.transpose(1, 0, 2), PIXELS[:, :41]])
@pytest.mark.parametrize(("resize", "size"), [(32, (28, 28)), (50, (28, 31)), (41, (41, 41))])
def test_resize_and_crop_as_torchvision_does(pixels, resize, size):
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    expected = transforms.CenterCrop(size)(transforms.Resize(resize)(picture))
    found = read_picture(content(picture), "x", 3, size, resize)
    assert np.array_equal(found, np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(20, 20), (41, 60), (10, 60), (90, 20)])
def test_a_size_alone_is_covered(size):
    found = read_picture(content(PIXELS), "x", 3, size)
    assert found.shape == (3, *size)
    constant = read_picture(content(np.full_like(PIXELS, 7)), "x", 3, size)
    assert (constant == 7).all()  # no border was invented
    if size == (41, 60):
        assert np.array_equal(found, PIXELS.transpose(2, 0, 1))


def test_a_crop_is_taken_from_the_centre():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (read_picture(content(pixels), "x", 3, (10, 10)) == 255).all()


def test_deep_pictures_are_refused():
    with pytest.raises(DataError, match=r"deep.png: more than 8 bits per channel .*convert it"):
        read_picture(content(np.full((4, 4), 300, np.uint16)), "deep.png", 1)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"text", content(PIXELS)[:-200], content(PIXELS, "JPEG")[:900], content(PIXELS)[:40]],
    ids=["empty", "text", "cut PNG", "cut JPEG", "only a header"],
)
def test_damaged_pictures_are_named(damaged):
    with pytest.raises(DataError, match=r"x.png: .*; mend or remove the picture"):
        read_picture(damaged, "x.png", 3)
