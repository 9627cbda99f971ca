"""Pairs of models, with numbers made by hand."""

import pytest

from boundcheck.claims.shared.twins import TwinValue
from boundcheck.contracts import NAN

TWINS = {"dag_code2": "seq_code2", "dag_code4": "seq_code4"}


def cells(difference, spread=0.1, method="am"):
    """Values by cell and seed: the model's are the twin's plus the difference."""
    found = {}
    for model, twin in TWINS.items():
        for name, shift in ((model, difference), (twin, 0.0)):
            found["digits", name, method] = {s: 10 + shift + (spread * s if name == model else 0) for s in range(3)}
    return found


def claim(**settings):
    plain = {"statement": "s", "reference": "r", "quantity": "test_accuracy", "twins": TWINS, "source": "curves"}
    return TwinValue(**plain | settings)


@pytest.mark.parametrize(
    ("difference", "decision"), [(1.0, "supported"), (-1.0, "contradicted"), (-0.1, "inconclusive")]
)
def test_higher(make_tables, difference, decision):
    verdict = claim(unit="dB").decide(make_tables(cells(difference)))
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(difference + 0.1)
    assert [(cell["model"], cell["twin"], cell["method"]) for cell in verdict.cells] == [
        ("dag_code2", "seq_code2", "am"),
        ("dag_code4", "seq_code4", "am"),
    ]
    assert verdict.num_runs == 3
    assert set(verdict.figures[0].data["panel"]) == {"digits · dag_code2 (am)", "digits · dag_code4 (am)", ""}


def test_lower_is_the_other_side(make_tables):
    assert claim(side="lower").decide(make_tables(cells(-1.0))).decision == "supported"


def test_a_twin_may_serve_several_and_methods_are_chosen(make_tables):
    values = cells(1.0) | {
        ("digits", "dag_code2", "sgd"): {0: 0.0, 1: 0.5},
        ("digits", "seq_code2", "sgd"): {0: 9.0, 1: 9.0},
    }
    twins = {"dag_code2": "seq_code2", "dag_code4": "seq_code2"}
    verdict = claim(twins=twins, methods=["am"]).decide(make_tables(values))
    assert [cell["method"] for cell in verdict.cells] == ["am", "am"]
    both = claim(twins={"dag_code2": "seq_code2"}).decide(make_tables(values))
    assert {cell["method"]: cell["decision"] for cell in both.cells} == {"am": "supported", "sgd": "contradicted"}
    assert both.reason.endswith("the reverse in 1: digits/dag_code2")


def measured(quantity, value, model="dag_code2", seed=0, index=-1, coordinate=NAN):
    return ("digits", model, "am", seed, 50, 50.0, quantity, index, coordinate, value, NAN, "reconstruction")


def test_another_quantity_of_the_same_run(make_tables):
    rows = [measured("psnr", 20.0 + seed / 10, seed=seed) for seed in range(3)]
    rows += [measured("pca_psnr", 18.0, seed=seed) for seed in range(3)]
    settings = {
        "quantity": "psnr",
        "twin_quantity": "pca_psnr",
        "source": "measurements",
        "twins": {"dag_code2": "self"},
    }
    verdict = claim(**settings).decide(make_tables(cells(0.0), measurements=rows))
    assert verdict.decision == "supported"
    assert verdict.effect == pytest.approx(2.1)
    assert verdict.cells[0]["twin"] == "pca_psnr"
    assert verdict.figures[0].x_label == "PSNR: difference from twin"
    assert verdict.figures[0].caption.startswith("Difference of PSNR from twin")


def courses(make_tables, **values_of):
    """Curves of hand-made values at steps 0, 10, 20 for all seeds of a model; keys `dag_code2`, `seq_code2`, ..."""
    tables = make_tables({("digits", model, "am"): dict.fromkeys(range(3), 1.0) for model in values_of})
    value = [
        values_of[model][seed][step // 10] for model, seed, step in tables.curves[["model", "seed", "step"]].values
    ]
    return tables._replace(curves=tables.curves.assign(value=value))


def test_steps_to_a_share_of_the_first_value(make_tables):
    tables = courses(
        make_tables,
        dag_code2=[(6.0, 2.0, 1.0), (9.0, 4.0, 3.0), (6.0, 1.0, 9.0)],  # a third after 10, 20 and 10 steps
        seq_code2=[(3.0, 2.0, 1.0), (3.0, 2.0, 2.0), (3.0, 0.5, 3.0)],  # after 20, never, 10
    )
    verdict = claim(side="lower", share=1 / 3, twins={"dag_code2": "seq_code2"}).decide(tables)
    assert verdict.effect == pytest.approx((-10 + 0 + 0) / 3)
    assert verdict.unit == "steps"
    assert "1 runs never reach it and count as their last step" in verdict.reason
    assert "left out: 0" in verdict.reason
    assert "steps until test accuracy is 0.333 of its first value" in verdict.figures[0].x_label


def test_a_pair_of_which_neither_gets_there_is_no_tie(make_tables):
    twins = {"dag_code2": "seq_code2", "dag_code4": "seq_code4"}
    tables = courses(
        make_tables,
        dag_code2=[(6.0, 1.0, 1.0)] * 3,
        seq_code2=[(6.0, 5.0, 1.0)] * 3,
        dag_code4=[(6.0, 5.0, 5.0)] * 3,
        seq_code4=[(6.0, 5.0, 5.0)] * 3,
    )
    verdict = claim(side="lower", share=1 / 3, twins=twins).decide(tables)
    assert verdict.effect == pytest.approx(-10)
    assert "6 runs never reach it" in verdict.reason
    assert "left out: 3" in verdict.reason


def test_quality_against_size_and_pictures(make_tables):
    rows = []
    for size in (2, 4):
        for model, quality in ((f"dag_code{size}", 10.0 * size), (f"seq_code{size}", 9.0 * size)):
            for seed in (0, 1):
                rows += [measured("code_size", size, model, seed), measured("psnr", quality + seed, model, seed)]
                rows.append(measured("pca_psnr", 8.0 * size, model, seed))
                for name in ("picture", "reconstruction", "pca_reconstruction"):
                    values = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]
                    rows += [
                        measured(name, value + seed, model, seed, pixel, float(number))
                        for number, picture in enumerate(values)
                        for pixel, value in enumerate(picture)
                    ]
    settings = {"quantity": "psnr", "source": "measurements", "size": "code_size", "pictures": True, "unit": "dB"}
    _, sizes, pictures = claim(**settings).decide(make_tables(cells(0.0), measurements=rows)).figures
    data = sizes.data.set_index(["series", "x"])
    assert set(sizes.data["series"]) == {"dag", "seq", "principal components"}
    assert data.loc[("dag", 4.0), "y"] == pytest.approx(40.5)
    assert (data.loc[("seq", 2.0), "low"], data.loc[("seq", 2.0), "high"]) == (18.0, 19.0)
    assert list(dict.fromkeys(pictures.data["panel"])) == ["original", "dag_code4", "seq_code4", "principal components"]
    assert pictures.mark == "picture"
    original = pictures.data[pictures.data["panel"] == "original"].pivot(index="series", columns="x", values="y")
    assert original.columns.tolist() == [0, 1, 3, 4]  # a column apart
    assert original.to_numpy().tolist() == [
        [0.1, 0.2, 0.5, 0.6],
        [0.3, 0.4, 0.7, 0.8],
    ]  # of the first seed, side by side


def test_pairs_without_numbers_are_not_run(make_tables):
    missing = {("digits", name, "am", seed): "missing" for name in ("dag_code2", "seq_code2") for seed in range(3)}
    values = {cell: v for cell, v in cells(1.0).items() if cell[1] in ("dag_code2", "seq_code2")}
    settings = {"quantity": "psnr", "source": "measurements"}
    assert claim(**settings).decide(make_tables(values, statuses=missing)).decision == "not run"
    assert claim(**settings, twins={"other": "another"}).decide(make_tables(values)).decision == "not run"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"side": "best"}, "side"),
        ({"twins": {}}, "twins"),
        ({"twins": ["a"]}, "twins"),
        ({"share": 0.5, "source": "measurements"}, "share"),
        ({"share": 1.0}, "share"),
    ],
)
def test_settings_without_meaning_are_rejected(settings, field):
    with pytest.raises(ValueError, match=f"^{field}: got .*; allowed: "):
        claim(**settings)
