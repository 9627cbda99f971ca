import math

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.contracts import NAN
from boundcheck.registry import build
from boundcheck.report.reasons import worded

A, B = ("mnist5k", "mlp"), ("mnist5k", "resnet8")
SGD = {0: 0.90, 1: 0.91, 2: 0.93}
BETTER = {0: 0.92, 1: 0.931, 2: 0.949}  # differences .02, .021, .019


def claim(kind, **settings):
    return build(CLAIMS, {"kind": kind, "quantity": "test_accuracy", "methods": "gam", "baseline": "sgd", **settings})


def higher(**settings):
    return claim("higher_value", **settings)


def lower(**settings):
    return claim("lower_value", **settings)


def test_supported_with_the_paired_difference_in_points(make_tables):
    verdict = higher(scale=100, unit="points").decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}))
    assert (verdict.decision, verdict.num_runs, verdict.unit) == ("supported", 3, "points")
    assert verdict.effect == pytest.approx(2.0)
    half = 4.302653 * 0.1 / math.sqrt(3)  # s = 0.1 points
    assert (verdict.low, verdict.high) == pytest.approx((2.0 - half, 2.0 + half), rel=1e-5)
    (cell,) = verdict.cells
    assert (cell["dataset"], cell["model"], cell["method"], cell["n"]) == ("mnist5k", "mlp", "gam", 3)
    assert cell["value"] == pytest.approx(100 * (0.92 + 0.931 + 0.949) / 3)
    assert cell["value of baseline"] == pytest.approx(100 * (0.90 + 0.91 + 0.93) / 3)


def test_the_reverse_is_contradicted(make_tables):
    tables = make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER})
    assert lower().decide(tables).decision == "contradicted"


def test_pairs_are_made_by_seed(make_tables):
    # the same values on other seeds: the differences are no longer nearly equal
    shuffled = dict(zip((1, 2, 0), BETTER.values(), strict=True))
    verdict = higher().decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): shuffled}))
    assert verdict.effect == pytest.approx(0.02)
    assert verdict.decision == "inconclusive"
    assert verdict.num_runs_needed > 3


def test_the_order_of_rows_does_not_matter(make_tables):
    tables = make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER})
    backwards = tables._replace(curves=tables.curves[::-1], runs=tables.runs[::-1])
    assert higher().decide(backwards).effect == higher().decide(tables).effect


def test_relative_effects_are_percent(make_tables):
    double = {s: 2 * v * (1 + 0.01 * s) for s, v in SGD.items()}
    verdict = higher(relative=True).decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): double}))
    expected = 100 * (2 * (1 * 1.01 * 1.02) ** (1 / 3) - 1)  # of the geometric mean of the ratios
    assert verdict.effect == pytest.approx(expected, rel=1e-12)
    assert verdict.unit == "%"
    assert verdict.decision == "supported"


def test_relative_leaves_out_what_has_no_logarithm(make_tables):
    verdict = higher(relative=True).decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): {**BETTER, 1: -0.1}}))
    assert verdict.num_runs == 2


@pytest.mark.parametrize(
    ("at", "values", "expected"),
    [
        ("last", (0.1, 0.5, 0.3), 0.3),
        ("best", (0.1, 0.5, 0.3), 0.5),
        (1, (0.1, 0.5, 0.3), 0.5),
        (0, (0.1, 0.5, 0.3), 0.1),
    ],
)
def test_when_the_value_is_taken(make_tables, at, values, expected):
    tables = make_tables({(*A, "sgd"): dict.fromkeys(range(2), 0.0), (*A, "gam"): dict.fromkeys(range(2), 1.0)})
    gam = tables.curves["method"] == "gam"
    tables.curves.loc[gam, "value"] = [*values, *values]
    assert higher(at=at).decide(tables).effect == pytest.approx(expected)


def test_best_of_a_lower_value_is_the_least(make_tables):
    tables = make_tables({(*A, "sgd"): {0: 0.0, 1: 0.0}, (*A, "gam"): {0: 3.0, 1: 3.0}})
    assert lower(at="best").decide(tables).effect == pytest.approx(1.0)  # a third of 3


def test_several_cells_pool_their_seeds(make_tables):
    values = {(*A, "sgd"): SGD, (*A, "gam"): BETTER, (*B, "sgd"): SGD, (*B, "gam"): {0: 0.94, 1: 0.949, 2: 0.971}}
    verdict = higher().decide(make_tables(values))
    assert verdict.effect == pytest.approx((0.02 + 0.04) / 2)
    assert [cell["decision"] for cell in verdict.cells] == ["supported", "supported"]
    assert "as claimed in 2 of 2 cells" in worded(verdict.reason)


def test_a_contradicting_cell_stops_the_support(make_tables):
    worse = {s: v - 0.003 - 0.0001 * s for s, v in SGD.items()}
    values = {(*A, "sgd"): SGD, (*A, "gam"): BETTER, (*B, "sgd"): SGD, (*B, "gam"): worse}
    verdict = higher().decide(make_tables(values))
    assert verdict.decision == "inconclusive"
    assert "mnist5k/resnet8/gam" in worded(verdict.reason)
    assert verdict.low > 0


def test_a_baseline_is_not_compared_with_itself(make_tables):
    values = {(*A, "gam"): SGD, (*A, "gam_a"): BETTER, (*A, "gam_b"): BETTER, (*A, "other"): SGD}
    verdict = higher(methods="gam*", baseline="gam").decide(make_tables(values))
    assert [cell["method"] for cell in verdict.cells] == ["gam_a", "gam_b"]


def test_one_seed_decides_nothing(make_tables):
    verdict = higher().decide(make_tables({(*A, "sgd"): {0: 0.9}, (*A, "gam"): {0: 0.99}}))
    assert verdict.decision == "inconclusive"
    assert verdict.effect == pytest.approx(0.09)
    assert math.isnan(verdict.low)
    assert verdict.num_runs == 1


def test_diverged_runs_are_counted_and_not_averaged(make_tables):
    values = {(*A, "sgd"): SGD, (*A, "gam"): {**BETTER, 0: 77.0}}
    verdict = higher().decide(make_tables(values, statuses={(*A, "gam", 0): "diverged"}))
    assert verdict.effect == pytest.approx(0.02)
    assert verdict.num_runs == 2
    assert "1 run diverged (mnist5k/mlp/gam 0)" in worded(verdict.reason)
    assert verdict.cells[0]["diverged"] == 1


def test_nothing_left_after_divergence_is_inconclusive(make_tables):
    statuses = {(*A, "gam", seed): "diverged" for seed in SGD}
    verdict = higher().decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}, statuses=statuses))
    assert verdict.decision == "inconclusive"
    assert "3 runs diverged (mnist5k/mlp/gam 0, 1, 2)" in worded(verdict.reason)
    assert math.isnan(verdict.effect)


def test_not_run_where_no_such_method_is_planned(make_tables):
    skipped = [(*A, "gam", "GAM needs BatchNorm")]
    verdict = higher().decide(make_tables({(*A, "sgd"): SGD}, skipped=skipped))
    assert verdict.decision == "not run"
    assert "no cell that the claim selects" in worded(verdict.reason)
    assert "GAM needs BatchNorm" in worded(verdict.reason)


def test_not_run_where_the_baseline_is_elsewhere(make_tables):
    verdict = higher().decide(make_tables({(*B, "sgd"): SGD, (*A, "gam"): BETTER}))
    assert verdict.decision == "not run"
    assert "no selected cell has a baseline" in worded(verdict.reason)


def test_not_run_where_several_cells_could_be_the_baseline(make_tables):
    verdict = higher(baseline="sgd*").decide(make_tables({(*A, n): SGD for n in ("sgd", "sgd_2", "gam")}))
    assert verdict.decision == "not run"
    assert worded(verdict.reason).endswith("must name one: mnist5k/mlp/sgd, mnist5k/mlp/sgd_2")


def test_not_run_where_results_are_missing(make_tables):
    statuses = {(*A, "gam", seed): "missing" for seed in SGD}
    verdict = higher().decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}, statuses=statuses))
    assert verdict.decision == "not run"
    assert "3 runs missing (mnist5k/mlp/gam 0, 1, 2)" in worded(verdict.reason)


def test_not_run_where_the_quantity_was_not_recorded(make_tables):
    verdict = higher(quantity="sharpness").decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}))
    assert verdict.decision == "not run"
    assert worded(verdict.reason) == "no pair of finished runs has a sharpness to compare"


def measurements(method, by_coordinate, analysis="flatness"):
    return [
        (*A, method, seed, 0, 0.0, "flat", -1, coordinate, value * (1 + 0.01 * seed), NAN, analysis)
        for coordinate, value in by_coordinate.items()
        for seed in range(3)
    ]


def test_the_coordinate_is_chosen(make_tables):
    rows = [*measurements("sgd", {0.1: 1.0, 0.2: 1.0}), *measurements("gam", {0.1: 0.5, 0.2: 2.0})]
    tables = make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}, measurements=rows)
    at = {"quantity": "flat", "source": "measurements", "relative": True}
    assert lower(**at, coordinate=0.1).decide(tables).effect == pytest.approx(-50)
    assert lower(**at, coordinate=0.2).decide(tables).effect == pytest.approx(100)
    assert lower(**at, coordinate=0.3).decide(tables).decision == "not run"
    several = lower(**at).decide(tables)
    assert several.decision == "not run"
    assert "several values at one step" in worded(several.reason)


def test_the_analysis_is_chosen(make_tables):
    rows = [*measurements("sgd", {NAN: 1.0}), *measurements("gam", {NAN: 0.5})]
    rows += [*measurements("sgd", {NAN: 1.0}, "spectrum"), *measurements("gam", {NAN: 3.0}, "spectrum")]
    tables = make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}, measurements=rows)
    at = {"quantity": "flat", "source": "measurements"}
    assert lower(**at, analysis="flatness").decide(tables).effect < 0
    assert lower(**at, analysis="spectrum").decide(tables).effect > 0
    assert lower(**at).decide(tables).decision == "not run"


def test_figures_show_the_intervals_and_the_curves(make_tables):
    verdict = higher(scale=100, unit="points").decide(make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}))
    intervals, curves = verdict.figures
    assert intervals.mark == "interval"
    assert intervals.data["series"].tolist() == ["gam", "pooled"]
    assert intervals.data["y"].tolist() == pytest.approx([2.0, 2.0])
    assert "points" in intervals.x_label
    assert (curves.mark, curves.x_label) == ("line", "epoch")
    last = curves.data[(curves.data["x"] == 2) & (curves.data["series"] == "sgd")].iloc[0]
    assert (last["y"], last["low"], last["high"]) == pytest.approx((sum(SGD.values()) / 3, 0.90, 0.93))


def test_other_quantities_are_shown_over_their_coordinate(make_tables):
    rows = [
        (*A, method, seed, 2, 2.0, "density", -1, x, x + seed, NAN, "spectrum")
        for method in ("sgd", "gam")
        for seed in (0, 1, 2)
        for x in (1.0, 2.0)
    ]
    tables = make_tables({(*A, "sgd"): SGD, (*A, "gam"): BETTER}, measurements=rows)
    *_, shown = higher(show={"density": "eigenvalue λ", "absent": "radius ρ"}).decide(tables).figures
    assert (shown.x_label, shown.y_label) == ("eigenvalue λ", "density")
    assert set(shown.data["series"]) == {"sgd", "gam"}
    assert sorted(set(shown.data["y"])) == [2.0, 3.0]


def test_a_ratio_within_a_margin(make_tables):
    def similar(ratios):
        values = {(*A, "gam"): dict(enumerate(10.0 * r for r in ratios)), (*A, "sgd"): dict.fromkeys(range(3), 10.0)}
        return claim("similar_value", margin=0.05).decide(make_tables(values))

    assert similar([1.01, 0.99, 1.0]).decision == "supported"
    assert similar([1.2, 1.21, 1.19]).decision == "contradicted"
    assert similar([0.8, 0.81, 0.79]).decision == "contradicted"
    assert similar([1.01, 1.01, 1.01]).decision == "supported"  # one ratio: it decides itself
    verdict = similar([1.04, 0.99, 1.05])
    assert verdict.decision == verdict.cells[0]["decision"] == "inconclusive"
    assert worded(verdict.reason) == "+2.63% from the baseline, allowed ±5%"


def test_steps_until_a_level(make_tables):
    """Of `value` a third, a half, and the whole after 0, 10 and 20 steps: a negative value falls."""
    values = {(*A, "gam"): {0: -30.0, 1: -40.0, 2: -12.0}, (*A, "sgd"): {0: -9.0, 1: -9.5, 2: -9.0}}
    verdict = lower(until_level=-5.0).decide(make_tables(values))
    assert verdict.effect == pytest.approx((0 + 0 + 10) / 3 - 20)
    assert (verdict.unit, verdict.decision) == ("steps", "supported")
    assert "never" not in worded(verdict.reason)
    assert [figure.mark for figure in verdict.figures] == ["interval", "line"]
    assert verdict.figures[0].x_label == "test accuracy, steps until it is ≤ -5: difference from sgd (steps)"
    assert set(verdict.figures[1].data["x"]) == {0.0, 1.0, 2.0}  # the quantity itself, over the epochs
    hard = lower(until_level=-9.2).decide(make_tables(values))
    assert "2 runs never get there and count as their last step" in worded(hard.reason)


def test_a_level_by_kind_of_dataset(make_tables):
    """On digits all runs of `gam` are at their level from the start; on mnist two get there after 10 steps."""
    values = {(*A, "gam"): {0: -30.0, 1: -24.0, 2: -27.0}, (*A, "sgd"): {0: -9.0, 1: -9.5, 2: -9.0}}
    values |= {("two", *cell[1:]): by_seed for cell, by_seed in values.items()}
    tables = make_tables(values, datasets={"mnist5k": {"kind": "digits"}, "two": {"kind": "mnist"}})
    verdict = lower(until_level={"digits": -5.0, "mnist": -10.0}).decide(tables)
    of_digits, of_mnist = verdict.cells
    assert of_digits["value"] == of_digits["value of baseline"] - 20 == 0
    assert of_mnist["value"] == pytest.approx((0 + 10 + 10) / 3)
    assert verdict.figures[0].x_label.startswith("test accuracy, steps until it is ≤ -10 or -5: ")
    one = lower(until_level={"mnist": -10.0}).decide(tables)
    assert {cell["dataset"]: cell["n"] for cell in one.cells} == {"mnist5k": 0, "two": 3}


def test_steps_until_a_share_of_the_first_value(make_tables):
    def until_a_third(gam, sgd, model="mlp"):
        courses = {("mnist5k", model, "gam"): gam, ("mnist5k", model, "sgd"): sgd}
        return {(*cell, seed): values for cell, by_seed in courses.items() for seed, values in enumerate(by_seed)}

    def decide(courses):
        cells = {key[:3]: dict.fromkeys(range(3), 1.0) for key in courses}
        tables = make_tables(cells)
        keys = tables.curves[["dataset", "model", "method", "seed"]].itertuples(index=False, name=None)
        value = [courses[key][step // 10] for key, step in zip(keys, tables.curves["step"], strict=True)]
        return lower(until_share=1 / 3).decide(tables._replace(curves=tables.curves.assign(value=value)))

    gam = [(6.0, 2.0, 1.0), (9.0, 4.0, 3.0), (6.0, 1.0, 9.0)]  # after 10, 20 and 10 steps
    sgd = [(3.0, 2.0, 1.0), (3.0, 2.0, 2.0), (3.0, 0.5, 3.0)]  # after 20, never, 10
    verdict = decide(until_a_third(gam, sgd))
    assert verdict.effect == pytest.approx((-10 + 0 + 0) / 3)
    assert "1 run never gets there and counts as its last step" in worded(verdict.reason)
    assert "left out: 0" in worded(verdict.reason)
    # a pair of which neither gets there is no tie
    nowhere = until_a_third([(6.0, 5.0, 5.0)] * 3, [(6.0, 5.0, 5.0)] * 3, "resnet8")
    verdict = decide(until_a_third([(6.0, 1.0, 1.0)] * 3, [(6.0, 5.0, 1.0)] * 3) | nowhere)
    assert verdict.effect == pytest.approx(-10)
    assert "6 runs never get there" in worded(verdict.reason)
    assert "left out: 3" in worded(verdict.reason)


def test_another_quantity_of_the_same_run(make_tables):
    rows = [
        (*A, "gam", seed, 2, 2.0, name, -1, NAN, value + seed / 10, NAN, "reconstruction")
        for seed in range(3)
        for name, value in (("psnr", 20.0), ("pca_psnr", 18.0 - seed / 20))
    ]
    settings = {"quantity": "psnr", "baseline_quantity": "pca_psnr", "source": "measurements", "baseline": "same"}
    verdict = higher(**settings).decide(make_tables({(*A, "gam"): SGD}, measurements=rows))
    assert verdict.decision == "supported"
    assert verdict.cells[0]["baseline"] == "pca_psnr"
    assert verdict.figures[0].x_label.startswith("PSNR: difference from")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"source": "logs"}, "source"),
        ({"show": ["density"]}, "show"),
        ({"at": "middle"}, "at"),
        ({"scale": 0}, "scale"),
        ({"relative": True, "scale": 100}, "relative"),
        ({"at_equal_loss": True, "at": 0}, "at_equal_loss"),
        ({"loss_at_most": 0}, "loss_at_most"),
        ({"until_share": 0.5, "source": "measurements"}, "source"),
        ({"baseline": "same"}, "baseline"),
        ({"budget": "time"}, "budget"),
    ],
)
def test_refuses(settings, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
        higher(**settings)
