import math

import pytest

from boundcheck.report.wording import interval, links, mean_and_std, number

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("x-y", "x-y"),
        (None, "–"),
        (NAN, "–"),
        (INF, "∞"),
        (-INF, "−∞"),
        (3.0, "3"),
        (-3.0, "−3"),
        (0.0, "0"),
        (1.5, "1.50"),
        (123.4, "123"),
        (1234.5, "1234"),
        (0.000123456, "0.000123"),
        (1.23456e-7, "1.23e−7"),
        (4.56e12, "4.56e12"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((-12.34, -15.0, -9.68, "%"), "−12.3 % [−15.0, −9.7]"),
        ((0.0436, -0.759, 0.846, "points"), "+0.04 points [−0.76, +0.85]"),
        ((250.0, 100.0, 400.0, ""), "+250 [+100, +400]"),
        ((1.5, NAN, NAN, "points"), "+1.50 points (no interval)"),
        ((NAN, NAN, NAN, "points"), "–"),
        ((1e-9, 0.5e-9, 1.5e-9, ""), "+1.00e−9 [+5.00e−10, +1.50e−9]"),
    ],
)
def test_interval(arguments, text):
    assert interval(*arguments) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([80.74, 80.9, 81.06], "80.90 ± 0.16"),
        ([1.0, NAN], "1"),
        ([NAN], "–"),
        ([], "–"),
        ([2.0, 2.0], "2 ± 0"),
        ([100.0, 300.0], "200 ± 141"),
    ],
)
def test_mean_and_std(values, text):
    assert mean_and_std(values) == text


def test_links():
    pieces = links("Zhang 2023, arXiv:2303.03108, section 3; doi 10.1109/CVPR52729.2023.01939.")
    assert (
        "".join(text for text, _ in pieces)
        == "Zhang 2023, arXiv:2303.03108, section 3; doi 10.1109/CVPR52729.2023.01939."
    )
    assert [address for _, address in pieces if address] == [
        "https://arxiv.org/abs/2303.03108",
        "https://doi.org/10.1109/CVPR52729.2023.01939",
    ]
    assert links("no reference") == [("no reference", "")]
