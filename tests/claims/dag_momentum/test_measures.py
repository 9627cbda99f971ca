"""All measures of reconstruction beside each other, with numbers made by hand."""

import pytest

from boundcheck.claims.dag_momentum.measures import MeasuresAgree
from boundcheck.contracts import NAN
from boundcheck.models import MODELS
from boundcheck.registry import resolved
from boundcheck.report.reasons import worded

MODEL_SPECS = {
    f"{name}_code{code}": resolved(MODELS, {"kind": "autoencoder", "code": code, "skips": skips})
    for name, skips in (("dag", "inside"), ("seq", "none"))
    for code in (2, 4)
}
CLAIM = {"models": {"skips": "inside"}, "beside": [{"skips": "none", "others": "same"}]}
DECIBEL = ("psnr_hvs_m", "psnr_hvs", "psnr")


def measured(quantity, value, model, seed):
    return ("digits", model, "am", seed, 50, 50.0, quantity, -1, NAN, value, NAN, "reconstruction")


def rows_of(model, quality, size, num_parameters, spread=0.1):
    """Decibels around 20 + quality, SSIM and MSE that say the same; the components of every model at 20."""
    rows = []
    for seed in range(3):
        shift = quality + spread * (seed - 1)
        values = dict.fromkeys(DECIBEL, 20 + shift) | {"ssim": 0.5 + shift / 100, "mse": 0.1 - shift / 100}
        values |= {f"pca_{name}": 20.0 for name in DECIBEL} | {"pca_ssim": 0.5, "pca_mse": 0.1}
        values |= {"code_size": size, "compression_ratio": 64 / size, "num_parameters": num_parameters}
        rows += [measured(name, value, model, seed) for name, value in values.items()]
    return rows


@pytest.fixture
def decided(make_tables):
    """The verdict on two models better by 2 than principal components and by 1 than their twins."""

    def decide(change=lambda row: row, earlier=(), **settings):
        rows = []
        for size in (2, 4):
            rows += rows_of(f"dag_code{size}", 2.0, size, 100 * size)
            rows += rows_of(f"seq_code{size}", 1.0, size, 90 * size, spread=0.05)
        models = [f"{name}_code{size}" for name in ("dag", "seq") for size in (2, 4)]
        runs = {("digits", model, "am"): dict.fromkeys(range(3), 1.0) for model in models}
        tables = make_tables(runs, measurements=[*filter(None, map(change, rows)), *earlier], specs=MODEL_SPECS)
        return MeasuresAgree(**CLAIM | settings).decide(tables)

    return decide


def test_measures_that_agree(decided):
    verdict = decided()
    assert verdict.decision == "supported"
    assert worded(verdict.reason) == (
        "PSNR-HVS-M tells 4 of 4 pairs apart; of the 16 answers of the other measures to these pairs 16 agree, 0 are "
        "undecided and 0 say the reverse"
    )
    assert verdict.num_runs == 3
    names = ["dag_code2", "seq_code2", "principal components", "dag_code4", "seq_code4", "principal components"]
    assert [row["network"] for row in verdict.cells] == names
    own, twin, components = verdict.cells[:3]
    assert (own["code size"], own["compression ratio"], own["parameters"]) == (2, 32, 200)
    assert own["PSNR-HVS-M (dB)"] == pytest.approx(22)
    assert own["MSE"] == pytest.approx(0.08)
    assert twin["SSIM"] == pytest.approx(0.51)
    assert components["PSNR (dB)"] == pytest.approx(20)
    assert twin["model against it"] == "better by 5, worse by 0 of 5 measures"


def test_one_that_says_the_reverse_is_enough(decided):
    def reversed_error(row):
        quantity, model = row[6], row[1]
        is_it = quantity == "mse" and model == "seq_code4"
        return (*row[:9], row[9] - 0.05, *row[10:]) if is_it else row

    verdict = decided(reversed_error)
    assert verdict.decision == "contradicted"
    assert "1 say the reverse" in worded(verdict.reason)
    assert verdict.cells[4]["model against it"] == "better by 4, worse by 1 of 5 measures"


def test_a_model_that_all_measures_call_worse_is_no_disagreement(decided):
    """The twins 3 higher in every measure, that of the error downwards: worse of both twins, better of components."""

    def raised(row):
        quantity, model = row[6], row[1]
        shifts = dict.fromkeys(DECIBEL, 3.0) | {"ssim": 0.03, "mse": -0.03}
        return (*row[:9], row[9] + shifts.get(quantity, 0.0), *row[10:]) if model.startswith("seq") else row

    verdict = decided(raised)
    assert verdict.decision == "supported"
    assert worded(verdict.reason) == (
        "PSNR-HVS-M tells 4 of 4 pairs apart; of the 16 answers of the other measures to these pairs 16 agree, 0 are "
        "undecided and 0 say the reverse"
    )
    assert verdict.cells[1]["model against it"] == "better by 0, worse by 5 of 5 measures"


def test_the_last_snapshot_is_the_one_that_counts(decided):
    """Twins that were 8 decibels higher at step 10 are no better at the end."""
    earlier = [(*row[:4], 10, 10.0, *row[6:9], row[9] + 8.0, *row[10:]) for row in rows_of("seq_code2", 1.0, 2, 180)]
    plain, verdict = decided(), decided(earlier=earlier)
    assert verdict.cells[1]["PSNR-HVS-M (dB)"] == pytest.approx(21)
    assert verdict.cells[1] == plain.cells[1]
    assert verdict.reason == plain.reason


def test_without_a_difference_nothing_is_said(decided):
    def equal(row):
        return (*row[:9], 20.0 + row[3] % 2, *row[10:]) if row[6].endswith("psnr_hvs_m") else row

    verdict = decided(equal)
    assert verdict.decision == "inconclusive"
    assert worded(verdict.reason) == "PSNR-HVS-M tells 0 of 4 pairs apart"


def test_a_measure_that_is_not_there_is_left_out(decided):
    verdict = decided(lambda row: None if "ssim" in row[6] else row)
    assert "of the 12 answers" in worded(verdict.reason)
    assert verdict.decision == "supported"
    assert decided(lambda row: None).decision == "not run"
    assert decided(methods="other").decision == "not run"
    alone = decided(lambda row: row if row[1].startswith("dag") else None)
    components = "principal components"
    assert [row["network"] for row in alone.cells] == ["dag_code2", components, "dag_code4", components]


def test_a_panel_for_each_measure(decided):
    (figure,) = decided().figures
    labels = ["PSNR-HVS-M (dB)", "PSNR-HVS (dB)", "PSNR (dB)", "SSIM", "MSE"]
    assert list(dict.fromkeys(figure.data["panel"])) == [f"digits · {label}" for label in labels]
    assert set(figure.data["series"]) == {"dag", "seq", "principal components"}
    data = figure.data.set_index(["panel", "series", "x"])
    assert data.index.is_unique
    assert data.loc[("digits · PSNR (dB)", "seq", 4.0), "y"] == pytest.approx(21)
    assert data.loc[("digits · MSE", "dag", 2.0), "low"] == pytest.approx(0.079)
    assert (figure.x_label, figure.y_label) == ("code size", "mean over the test images")
