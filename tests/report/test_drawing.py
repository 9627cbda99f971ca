import base64
import io
import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from boundcheck.report.axis_marks import PIXEL
from boundcheck.report.drawing import PAGE_COLOURS, PALETTE, draw, inline, looks

SETTINGS = {"x_label": "epoch", "y_label": "loss (nats)", "log_x": False, "log_y": False}
SVG = "{http://www.w3.org/2000/svg}"


def figure_data(roles=("measured",), xs=(0.0, 1.0, 2.0), panels=("d · m", "d · n"), series=("sgd", "gam")):
    return pd.DataFrame(
        [
            {"panel": p, "series": s, "role": r, "x": x, "y": x + 1.0, "low": x + 0.5, "high": x + 1.5}
            for p, s, r, x in itertools.product(panels, series, roles, xs)
        ]
    )


def picture_data():
    """Two strips of two pictures of 2 x 2 pixels with a column between them."""
    return pd.DataFrame(
        [
            {"panel": p, "series": str(row), "role": "measured", "x": float(x), "y": shade(p, row, x)}
            for p, row, x in itertools.product(("original", "network"), range(2), (0, 1, 3, 4))
        ]
    ).assign(low=float("nan"), high=float("nan"))


def shade(panel, row, x):
    return (x + 4 * row) / 10 + (0.1 if panel == "network" else 0.0)


def drawn(mark, data, **changes):
    return draw(data, {**SETTINGS, "mark": mark, **changes}, looks(data["series"]))


CASES = {
    "line": lambda: drawn("line", figure_data()),
    "line with bound": lambda: drawn("line", figure_data(("measured", "bound"))),
    "line with two bounds": lambda: drawn("line", figure_data(("measured", "upper bound", "lower bound"))),
    "logarithmic": lambda: drawn("line", figure_data(xs=(1.0, 10.0, 1000.0)), log_x=True, log_y=True),
    "points": lambda: drawn("points", figure_data(("measured", "bound"), xs=(0.0,))),
    "interval": lambda: drawn("interval", figure_data(xs=(0.0,))),
    "heatmap": lambda: drawn("heatmap", figure_data()),
    "picture": lambda: drawn("picture", picture_data()),
    "seven panels": lambda: drawn("line", figure_data(panels=tuple("abcdefg"))),
    "twelve series": lambda: drawn("line", figure_data(series=tuple("abcdefghijkl"))),
}


@pytest.mark.parametrize("case", CASES)
def test_every_mark_is_well_formed_and_repeatable(case):
    svg = CASES[case]()
    root = ET.fromstring(svg)
    texts = {"".join(text.itertext()) for text in root.iter(f"{SVG}text")}
    assert "loss (nats)" in texts or case in ("interval", "picture")
    assert svg == CASES[case]()
    assert "<metadata" not in svg
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", svg)


@pytest.mark.parametrize("case", CASES)
def test_inlined_it_takes_the_colours_and_the_name_of_the_page(case):
    text = inline(CASES[case](), "f7", 'a < b & "c"')
    root = ET.fromstring(text)
    assert root.find("title").text == 'a < b & "c"'
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("f7-") for name in ids)
    references = re.findall(r'(?:href="#|url\(#)([^)"]+)', text)
    assert set(references) <= set(ids)
    assert not any(colour in text for colour in PAGE_COLOURS)
    assert "font-family" not in text
    assert "<style" not in text


def test_pictures_are_grey_and_sharp_and_stand_below_each_other():
    root = ET.fromstring(CASES["picture"]())
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 2
    for image, panel in zip(images, ("original", "network"), strict=True):
        data = base64.b64decode(image.attrib["{http://www.w3.org/1999/xlink}href"].partition(",")[2])
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
        assert pixels.shape == (2 * PIXEL, 5 * PIXEL, 4)
        blocks = pixels.reshape(2, PIXEL, 5, PIXEL, 4)
        assert (blocks == blocks[:, :1, :, :1]).all()  # large pixels, none of them blurred
        for row, x in itertools.product(range(2), (0, 1, 3, 4)):
            red, green, blue, opacity = (int(v) for v in blocks[row, 0, x, 0])
            assert (red, opacity) == (green, 255)
            assert red == blue == pytest.approx(255 * shade(panel, row, x), abs=1.5)
        assert (blocks[:, :, 2, :, 3] == 0).all()  # nothing between the pictures
    lefts, tops = zip(*(box_of(image) for image in images), strict=True)
    assert lefts[0] == lefts[1]
    assert tops[0] != tops[1]


def box_of(image):
    """Where an image stands: its own place and that of its transformation."""
    moved = [float(v) for v in re.findall(r"-?[\d.]+", image.attrib.get("transform", ""))[-2:]]
    return image.attrib.get("x", "0"), (image.attrib.get("y", "0"), *moved)


def test_measured_and_bound_share_one_axes():
    root = ET.fromstring(drawn("line", figure_data(("measured", "bound"), panels=("d · m",), series=("sgd",))))
    axes = [node for node in root.iter(f"{SVG}g") if re.fullmatch(r"axes_\d+", node.attrib.get("id", ""))]
    assert len(axes) == 1
    dotted = [p for p in axes[0].iter(f"{SVG}path") if "stroke-dasharray" in p.attrib.get("style", "")]
    dots = [u for u in axes[0].iter(f"{SVG}use") if PALETTE[0] in u.attrib.get("style", "")]
    assert len(dotted) == 1
    assert len(dots) == 3


def test_logarithmic_axes_have_plain_numbers():
    texts = {"".join(t.itertext()) for t in ET.fromstring(CASES["logarithmic"]()).iter(f"{SVG}text")}
    assert {"10", "100", "1000"} <= texts
    assert not any("$" in text for text in texts)


def test_a_series_looks_the_same_whatever_the_order():
    assert looks(["b", "a", "c", "a"]) == looks(["c", "b", "a"])
    many = looks([f"m{i:02}" for i in range(20)])
    assert len({look.colour for look in many.values()}) == 20


def test_text_is_never_read_as_tex():
    root = ET.fromstring(drawn("line", figure_data(series=("a_$x$", "b^$"))))
    assert {"a_$x$", "b^$"} <= {"".join(text.itertext()) for text in root.iter(f"{SVG}text")}
