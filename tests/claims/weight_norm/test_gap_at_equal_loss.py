"""The gap at equal training loss, of networks that learn at different speeds and have what they have by the end."""

from __future__ import annotations

import pandas as pd
import pytest

from boundcheck.claims.weight_norm.gap_at_equal_loss import GapAtEqualLoss
from boundcheck.contracts import NAN
from boundcheck.report.reasons import worded

WIDTHS, SEEDS = (8, 16, 32), range(3)


@pytest.fixture
def tables_of(make_tables):
    """Networks of three widths that have the loss 1 − speed · epoch at epochs 0 to 4."""

    def tables_of(gap, speed, statuses=None):
        cells = {("mnist", f"net_{width}", "gd"): dict.fromkeys(SEEDS, 1.0) for width in WIDTHS}
        specs = {f"net_{width}": {"kind": "net", "name": f"net_{width}", "width": width} for width in WIDTHS}
        tables = make_tables(cells, specs=specs, statuses=statuses)
        rows = []
        for width in WIDTHS:
            for seed in SEEDS:
                for epoch in range(5):
                    train = 1 - speed(width) * epoch * (1 + 0.01 * seed)
                    test = train + gap(width, train) * (1 + 0.02 * seed)
                    run = ("mnist", f"net_{width}", "gd", seed, 10 * epoch, float(epoch))
                    rows.append((*run, "full_train_loss", -1, NAN, train, NAN))
                    rows.append((*run, "test_loss", -1, NAN, test, NAN))
        runs = tables.runs.assign(dataset_spec=[{"kind": "m"}] * len(tables.runs))
        return tables._replace(curves=pd.DataFrame(rows, columns=tables.curves.columns), runs=runs)

    return tables_of


def decide(tables, **settings):
    return GapAtEqualLoss(x="width", **({"at_most": 7, "loss_at_most": 0.85} | settings)).decide(tables)


def narrow_first(width):
    """The widest ends at a loss of 0.735, which the narrowest has between two evaluations on its way to 0.08."""
    return 1.5 / width**0.9


def test_a_gap_that_only_follows_the_loss_does_not_grow(tables_of):
    """At the end the widest network, which learned least, has by far the smallest gap: at equal loss all have one."""
    verdict = decide(tables_of(lambda width, train: 0.3 * (1 - train), narrow_first))
    assert verdict.decision == "supported"
    assert verdict.effect == pytest.approx(0, abs=1e-9)
    (cell,) = verdict.cells
    levels = [1 - narrow_first(32) * 4 * (1 + 0.01 * seed) for seed in SEEDS]
    assert cell["training loss"] == pytest.approx(sum(levels) / 3)
    gaps = [0.3 * (1 - level) * (1 + 0.02 * seed) for seed, level in zip(SEEDS, levels, strict=True)]
    assert cell["mean gap"] == pytest.approx(sum(gaps) / 3)


def test_a_gap_that_grows_at_equal_loss_is_found_where_the_last_ones_fall(tables_of):
    tables = tables_of(lambda width, train: 0.01 * width**0.5 * (1 - train), narrow_first)
    last = tables.curves[tables.curves["epoch"] == 4].pivot(index=["model", "seed"], columns="quantity", values="value")
    gap = (last["test_loss"] - last["full_train_loss"]).groupby("model").mean()
    assert gap["net_32"] < gap["net_8"]
    verdict = decide(tables)
    assert (verdict.decision, verdict.effect) == ("contradicted", pytest.approx(34, rel=0.05))
    assert verdict.unit == "% per doubling"


def test_between_two_evaluations_the_test_loss_is_linear_in_the_training_loss(tables_of):
    verdict = decide(tables_of(lambda width, train: 0.3 * (1 - train) ** 2, narrow_first), at_most=1000)
    gaps = []
    for seed in SEEDS:
        level = 1 - narrow_first(32) * 4 * (1 + 0.01 * seed)
        for width in WIDTHS:
            speed = narrow_first(width) * (1 + 0.01 * seed)
            before = int((1 - level) / speed + 1e-9)
            share = (1 - level) / speed - before
            squares = [(speed * epoch) ** 2 for epoch in (before, before + 1)]
            gaps.append(0.3 * (1 + 0.02 * seed) * (squares[0] + share * (squares[1] - squares[0])))
    (cell,) = verdict.cells
    assert cell["mean gap"] == pytest.approx(sum(gaps) / len(gaps))


def test_where_a_loss_rises_again_the_first_fall_counts(tables_of):
    tables = tables_of(lambda width, train: 0.3 * (1 - train), narrow_first)
    curves = tables.curves
    late = (curves["model"] == "net_8") & (curves["epoch"] >= 3)
    rising = curves["value"].where(~(late & (curves["quantity"] == "full_train_loss")), 0.95)
    rising = rising.where(~(late & (curves["quantity"] == "test_loss")), 5.0)
    assert decide(tables._replace(curves=curves.assign(value=rising))).cells == decide(tables).cells


def test_a_run_that_starts_below_the_common_loss_has_no_gap_there(tables_of):
    tables = tables_of(lambda width, train: 0.3 * (1 - train), narrow_first)
    later = (tables.curves["model"] != "net_8") | (tables.curves["seed"] != 0) | (tables.curves["epoch"] >= 3)
    verdict = decide(tables._replace(curves=tables.curves[later]))
    assert verdict.decision == "inconclusive"
    assert "1 run has a lower training loss at the first evaluation than others ever reach" in worded(verdict.reason)


def test_networks_that_have_learned_nothing_are_not_compared(tables_of):
    verdict = decide(tables_of(lambda width, train: 0.3 * (1 - train), narrow_first), loss_at_most=0.5)
    assert (verdict.decision, verdict.unit) == ("inconclusive", "")
    assert "is not compared: the least training loss that all reach is 0.735, above 0.5" in worded(verdict.reason)
    assert [cell["decision"] for cell in verdict.cells] == ["inconclusive"]


def test_where_there_is_no_gap_on_average_nothing_can_grow(tables_of):
    verdict = decide(tables_of(lambda width, train: (width - 25) * (1 - train), lambda width: 0.1))
    assert verdict.decision == "inconclusive"
    assert "is not compared: the mean gap is -" in worded(verdict.reason)


def test_single_gaps_below_zero_count(tables_of):
    verdict = decide(tables_of(lambda width, train: (20 - width) * (1 - train) ** 2 + 1e-3 * width, lambda width: 0.1))
    assert verdict.decision == "supported"
    assert verdict.figures[0].data["y"].min() < 0


def test_a_seed_without_all_widths_does_not_count(tables_of):
    statuses = {("mnist", "net_8", "gd", 1): "diverged"}
    verdict = decide(tables_of(lambda width, train: 0.3 * (1 - train), lambda width: 0.1, statuses))
    assert (verdict.decision, verdict.num_runs) == ("supported", 6)


def test_no_sweep_is_not_run(tables_of):
    tables = tables_of(lambda width, train: 0.1, lambda width: 0.1)
    assert decide(tables, models="other").decision == "not run"
    assert decide(tables._replace(curves=tables.curves.iloc[:0])).decision == "not run"


def test_a_loss_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="loss_at_most: got 0"):
        GapAtEqualLoss(x="width", loss_at_most=0)
