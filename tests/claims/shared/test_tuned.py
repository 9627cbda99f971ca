"""Equivalence within a margin, each group of methods tuned by leaving one seed out."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.registry import build
from boundcheck.report.reasons import worded

GROUPS = {"new": "new_*", "old": {"name": "old_*"}}


def claim(**settings):
    base = {
        "kind": "similar_when_tuned",
        "quantity": "test_accuracy",
        "groups": GROUPS,
        "reference_group": "new",
        "margin": 2.0,
        "scale": 100,
        "unit": "points",
    }
    return build(CLAIMS, base | settings)


def accuracies(make_tables, new, old, **more):
    """{method: accuracies by seed} as tables; each list is over seeds 0, 1, 2."""
    values = {**{f"new_{k}": v for k, v in new.items()}, **{f"old_{k}": v for k, v in old.items()}}
    return make_tables({("d", "m", name): dict(enumerate(found)) for name, found in values.items()}, **more)


@pytest.mark.parametrize(
    ("new", "decision"),
    [
        ([0.895, 0.905, 0.91], "supported"),
        ([0.82, 0.83, 0.84], "contradicted"),
        ([0.97, 0.98, 0.99], "contradicted"),
        ([0.86, 0.90, 0.94], "inconclusive"),
    ],
)
def test_similar_is_within_the_margin(make_tables, new, decision):
    tables = accuracies(make_tables, {"a": new}, {"a": [0.90, 0.90, 0.91]})
    verdict = claim().decide(tables)
    assert verdict.decision == decision
    assert verdict.num_runs == 3


def test_better_is_no_fault_where_at_least_as_good_is_claimed(make_tables):
    tables = accuracies(make_tables, {"a": [0.97, 0.98, 0.99]}, {"a": [0.90, 0.90, 0.91]})
    verdict = claim(at_least=True).decide(tables)
    assert verdict.decision == "supported"
    assert verdict.effect == pytest.approx(100 * (0.98 - 2.71 / 3))
    assert verdict.unit == "points from old"
    assert worded(verdict.reason) == "new is at most 2 points worse than old"
    assert worded(claim().decide(tables).reason) == "new is within ±2 points of none of the others; beyond it: old"


def test_a_setting_is_chosen_by_the_other_seeds(make_tables):
    """Setting b is best on seeds 0 and 1 only; seed 2 is judged at b, seeds 0 and 1 at a."""
    new = {"a": [0.50, 0.51, 0.90], "b": [0.60, 0.61, 0.40]}
    verdict = claim(margin=50.0).decide(accuracies(make_tables, new, {"a": [0.5, 0.5, 0.5]}))
    assert verdict.cells[0]["value of new"] == pytest.approx(100 * (0.50 + 0.51 + 0.40) / 3)
    assert verdict.cells[0]["settings of new"] == 2


def test_the_figure_says_tuned_only_where_there_was_a_choice(make_tables):
    one = claim().decide(accuracies(make_tables, {"a": [0.5, 0.6, 0.7]}, {"a": [0.5, 0.5, 0.5]})).figures[0]
    two = claim().decide(accuracies(make_tables, {"a": [0.5, 0.6, 0.7], "b": [0.1] * 3}, {"a": [0.5] * 3})).figures[0]
    assert ("tuned" in one.x_label, "best settings" in one.caption) == (False, False)
    assert ("tuned" in two.x_label, "best settings" in two.caption) == (True, True)


def test_the_effect_is_the_least_favourable_difference(make_tables):
    values = {"new_a": [0.5, 0.51, 0.52], "old_a": [0.55, 0.56, 0.57], "far_a": [0.4, 0.41, 0.42]}
    tables = make_tables({("d", "m", name): dict(enumerate(found)) for name, found in values.items()})
    groups = GROUPS | {"far": "far_*"}
    for at_least, effect, unit in ((True, -5, "points from old"), (False, 10, "points from far")):
        verdict = claim(groups=groups, at_least=at_least).decide(tables)
        assert verdict.effect == pytest.approx(effect)
        assert verdict.unit == unit


def test_a_setting_that_diverged_loses(make_tables):
    new = {"a": [0.80, 0.81, 0.82], "b": [0.99, 0.99, 0.99]}
    tables = accuracies(make_tables, new, {"a": [0.8, 0.8, 0.8]}, statuses={("d", "m", "new_b", 1): "diverged"})
    assert claim().decide(tables).cells[0]["value of new"] == pytest.approx(81)


def test_lower_may_be_better(make_tables):
    tables = accuracies(make_tables, {"a": [0.1, 0.11, 0.12]}, {"a": [0.5, 0.52, 0.51]})
    settings = {"higher_is_better": False, "at_least": True}
    assert claim(**settings).decide(tables).effect > 0
    assert claim(**settings).decide(tables).decision == "supported"


def test_no_pair(make_tables):
    tables = make_tables({("d", "m", "new_a"): {0: 1.0}, ("d", "other", "old_a"): {0: 1.0}})
    verdict = claim().decide(tables)
    assert verdict.decision == "not run"
    assert worded(verdict.reason) == "no two groups were run on one dataset and model"


@pytest.mark.parametrize(("model", "never"), [("m", []), ("other", ["no_two_groups"])])
def test_a_grid_without_two_groups_on_one_network_can_never_decide(model, never):
    def cell(model, method):
        names = {"dataset": "d", "model": model, "method": method}
        specs = {key: {"name": name} for key, name in names.items()}
        return {**specs, "training": {}, "record": [], "roles": ["main"], "seeds": [0, 1, 2]}

    cells = {("d", "m", "new_a"): cell("m", "new_a"), ("d", model, "old_a"): cell(model, "old_a")}
    cells["d", "m", "third"] = cell("m", "third")  # of no group
    selected = claim().selects(cells)
    assert len(selected.cells) == 2
    assert [reason.kind for reason in selected.never] == never


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0}, "margin"),
        ({"reference_group": "third"}, "groups: got new, old; allowed: two or more groups, one of them"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        claim(**settings)
