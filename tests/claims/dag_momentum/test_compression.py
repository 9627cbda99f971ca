"""Which network compresses better, drawn against the size of its code, with pictures; numbers made by hand."""

import pytest

from boundcheck.claims.dag_momentum.compression import CompressesBetter
from boundcheck.contracts import NAN
from boundcheck.models import MODELS
from boundcheck.registry import resolved

SPECS = {
    f"{name}_code{code}": resolved(MODELS, {"kind": "autoencoder", "code": code, "skips": skips})
    for name, skips in (("dag", "inside"), ("seq", "none"))
    for code in (2, 16)
}
CLAIM = {"quantity": "psnr", "source": "measurements", "unit": "dB", "size": "code_size", "models": {"skips": "inside"}}
TWIN = {"baseline_model": {"skips": "none", "others": "same"}}


def measured(quantity, value, model, seed=0, index=-1, coordinate=NAN):
    return ("digits", model, "am", seed, 50, 50.0, quantity, index, coordinate, value, NAN, "reconstruction")


@pytest.fixture
def tables(make_tables):
    """The quality is 10 per unit of the code, 9 of the sequential twin and 8 of principal components; two pictures."""
    rows = []
    for model, spec in SPECS.items():
        size = spec["code"]
        for seed in (0, 1):
            quality = (10.0 if model.startswith("dag") else 9.0) * size + seed * (1 + size / 100)
            rows += [measured("code_size", size, model, seed), measured("psnr", quality, model, seed)]
            rows.append(measured("pca_psnr", 8.0 * size, model, seed))
            for name in ("picture", "reconstruction", "pca_reconstruction"):
                rows += [
                    measured(name, value + seed, model, seed, pixel, float(number))
                    for number, picture in enumerate([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
                    for pixel, value in enumerate(picture)
                ]
    return make_tables({("digits", model, "am"): {0: 1.0, 1: 1.0} for model in SPECS}, measurements=rows, specs=SPECS)


def test_quality_against_size_and_pictures(tables):
    verdict = CompressesBetter(**CLAIM, **TWIN).decide(tables)
    assert [(cell["model"], cell["baseline"]) for cell in verdict.cells] == [
        ("dag_code16", "seq_code16"),
        ("dag_code2", "seq_code2"),
    ]
    assert verdict.effect == pytest.approx(9)
    intervals, sizes, pictures = verdict.figures
    assert intervals.mark == "interval"
    data = sizes.data.set_index(["series", "x"])
    assert set(sizes.data["series"]) == {"dag", "seq", "principal components"}
    assert data.loc[("dag", 16.0), "low"] == 160
    assert (data.loc[("seq", 2.0), "low"], data.loc[("seq", 2.0), "high"]) == (18.0, pytest.approx(19.02))
    assert (sizes.x_label, sizes.y_label) == ("code size", "PSNR (dB)")
    largest = ["original", "dag_code16", "seq_code16", "principal components"]
    assert list(dict.fromkeys(pictures.data["panel"])) == largest
    original = pictures.data[pictures.data["panel"] == "original"].pivot(index="series", columns="x", values="y")
    assert original.columns.tolist() == [0, 1, 3, 4]  # a column apart
    assert original.to_numpy().tolist() == [
        [0.1, 0.2, 0.5, 0.6],
        [0.3, 0.4, 0.7, 0.8],
    ]  # of the first seed, side by side


def test_principal_components_are_measured_with_the_model(tables):
    verdict = CompressesBetter(**CLAIM, baseline_quantity="pca_psnr").decide(tables)
    assert verdict.effect == pytest.approx((2 * 2 + 2 * 16) / 2 + 0.5 * (1 + 9 / 100))
    assert [figure.mark for figure in verdict.figures] == ["interval", "line"]
    assert {cell["baseline"] for cell in verdict.cells} == {"pca_psnr"}
