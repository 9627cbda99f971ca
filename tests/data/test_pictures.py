from __future__ import annotations

import io
import struct

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


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_common_pictures_are_not_said_to_be_changed(mode):
    found = pictures.read_picture(content(Image.fromarray(PIXELS).convert(mode)), "x", 3)
    assert found.changes == ()


@pytest.mark.parametrize(("background", "value"), [("black", 0), ("white", 255)])
def test_transparent_parts_lie_on_the_background(background, value):
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    rgba[:20, ..., 3] = 0
    with pytest.raises(DataError, match=r"x: parts of the picture are transparent; set `background` to black or white"):
        read_picture(content(rgba), "x", 3)
    found = pictures.read_picture(content(rgba), "x", 3, background=background)
    assert found.changes == (f"transparent parts on {background}",)
    assert (found.pixels[:, :20] == value).all()
    assert np.array_equal(found.pixels[:, 20:], PIXELS[20:].transpose(2, 0, 1))


def test_a_background_changes_no_opaque_picture():
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    found = pictures.read_picture(content(rgba), "x", 3, background="white")
    assert found.changes == ()
    assert np.array_equal(found.pixels, PIXELS.transpose(2, 0, 1))


def test_of_several_frames_the_first_is_read():
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    for form in ("PNG", "TIFF"):
        found = pictures.read_picture(content(frames[0], form, save_all=True, append_images=frames[1:]), "x", 3)
        assert found.changes == ("first of several frames",)
        assert np.array_equal(found.pixels, PIXELS.transpose(2, 0, 1))


def test_colours_of_other_models_are_said_to_be_converted():
    found = pictures.read_picture(content(Image.fromarray(PIXELS).convert("CMYK"), "TIFF"), "x", 3)
    assert found.changes == ("CMYK converted to RGB without a colour profile",)


def test_avif_of_more_than_8_bits_is_found():
    """Pillow writes none, so the bit is set in the header alone."""
    plain = content(PIXELS, "AVIF", quality=50)
    deep = bytearray(plain)
    deep[deep.index(b"av1C") + 6] |= 0x40
    with Image.open(io.BytesIO(plain)) as picture:
        assert pictures._is_deep(picture, bytes(deep))
        assert not pictures._is_deep(picture, plain)


def test_colours_of_5_and_6_bits_are_read():
    """A BMP with two bytes for a pixel: 5 bits of red, 6 of green, 5 of blue."""
    sizes = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0)
    masks, rows = struct.pack("<III", 0xF800, 0x07E0, 0x001F), struct.pack("<HHHH", 0xF800, 0x07E0, 0x001F, 0xFFFF)
    head = b"BM" + struct.pack("<IHHI", 74, 0, 0, 66)
    found = read_picture(head + sizes + masks + rows, "x", 3)
    assert found[:, 1, 0].tolist() == [255, 0, 0]
    assert found[:, 0, 1].tolist() == [255, 255, 255]
