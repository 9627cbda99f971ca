"""Mistakes in claims are named, and what claims select in a planned grid is told."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.jobs.claim_lists import claims_lines
from boundcheck.jobs.claim_validation import claim_mistakes
from boundcheck.jobs.validate import validate
from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build

FLATTER = {
    "kind": "lower_value",
    "quantity": "sharpness",
    "source": "measurements",
    "methods": {"kind": "gam"},
    "baseline": "base",
}
NAMES = {"datasets": ["digits"], "models": ["mlp"], "methods": ["sgd", "gam_a"], "analyses": ["spectrum"]}


def mistakes(**changes):
    return list(claim_mistakes(build(CLAIMS, FLATTER | changes), ["dominates"], NAMES))


def test_a_good_claim_has_no_mistakes():
    assert mistakes() == []
    assert (
        mistakes(baseline={"kind": "sam", "rho": "same", "base": {"kind": "sgd", "lr": {"same_as": "base.lr"}}}) == []
    )
    assert mistakes(methods="gam_*", models={"depth": {"at_least": 2}}, training={"epochs": 3}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": {"kind": "gum"}}, ["methods: no kind 'gum'", "gam, "]),
        ({"methods": {"kind": "gam", "rh": 1}}, ["methods: gam has no setting 'rh'", "rho"]),
        (
            {"methods": [{"kind": "sgd"}, {"base": {"kind": "sgd", "rho": 1}}]},
            ["methods: base: sgd has no setting 'rho'"],
        ),
        ({"methods": "sam_*"}, ["methods: no name fits 'sam_*'", "gam_a, sgd"]),
        ({"baseline": {"kind": "sam", "rhos": "same"}}, ["baseline: sam has no setting 'rhos'"]),
        ({"baseline": "sdg"}, ["baseline: no name fits 'sdg'"]),
        ({"models": {"deepth": 2}}, ["models: no kind has a setting 'deepth'"]),
        ({"models": {"depth": {"atleast": 2}}}, ["models: depth: unknown operator 'atleast'", "at_least"]),
        ({"methods": {"base": {"lr": "1e-1"}}}, ["methods: base: lr: got '1e-1'", "write 1.0e-1"]),
        ({"methods": {"rho": {"above": "1e-1"}}}, ["methods: rho: above: got '1e-1'", "write 1.0e-1"]),
        ({"training": [{"epochs": 1}, {"epoch": 3}]}, ["training: no setting 'epoch'", "epochs"]),
        ({"training": {"label_smoothing": "1e-1"}}, ["training: label_smoothing: got '1e-1'"]),
        ({"training": {"epoch": 3}}, ["training: no setting 'epoch'", "epochs"]),
        ({"record": {"kind": "bit"}}, ["record: no kind 'bit'", "bits"]),
        ({"quantity": "sharpnes"}, ["no quantity 'sharpnes' in the measurements", "sharpness"]),
        ({"quantity": "test_accuracy"}, ["no quantity 'test_accuracy' in the measurements"]),
        ({"show": {"density": "λ"}}, ["no quantity 'density'", "spectral_density"]),
        ({"analysis": "spectrm"}, ["analysis: no analysis 'spectrm'", "spectrum"]),
        ({"models": {"activation": "tahn"}}, ["models: activation: got 'tahn'; allowed: one of", "tanh"]),
        ({"models": {"kind": "mlp", "width": 0}}, ["models: width: got 0; allowed: a whole number in [1, 1000000]"]),
        ({"models": {"width": {"not": "wide"}}}, ["models: width: not: got 'wide'"]),
        ({"models": {"depth": {"above": [1]}}}, ["models: depth: above: got [1]; allowed: a number"]),
        ({"models": {"depth": {"above": float("nan")}}}, ["models: depth: above: got nan; allowed: a number"]),
        ({"models": {"kind": 3}}, ["models: no kind 3", "mlp"]),
        ({"models": {"kind": {"not": "mlp"}}}, ["models: no kind 'not'", "mlp"]),
        ({"models": {"name": ["mlp", 3]}}, ["models: name: got 3; allowed: a text"]),
        ({"methods": {"rho": True}}, ["methods: rho: got True"]),
        (
            {"methods": {"base": {"kind": "sgd", "nesterov": "yes"}}},
            ["methods: base: nesterov: got 'yes'; allowed: true"],
        ),
        ({"datasets": {"normalise": "standart"}}, ["datasets: normalise: got 'standart'", "standard"]),
        (
            {"training": {"batch_size": "fulll"}},
            ["training: batch_size: got 'fulll'", "or full"],
        ),
        ({"training": {"loss": ["square", "sqare"]}}, ["training: loss: got 'sqare'", "square"]),
    ],
)
def test_a_mistake_is_named(changes, words):
    (mistake,) = mistakes(**changes)
    for word in words:
        assert word in mistake


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (
            {
                "kind": "similar_when_tuned",
                "quantity": "test_accuracy",
                "groups": {"GAM": {"kind": "gum"}, "SGD": {"kind": "sgd", "lr": 0.1}},
                "reference_group": "SGD",
                "margin": 1.0,
            },
            "groups: GAM: no kind 'gum'",
        ),
        ({"kind": "act_through_product", "centre": {"kind": "latent_sgd", "rate": 1}}, "centre: latent_sgd has no"),
    ],
)
def test_a_mistake_in_a_group_or_a_centre_is_named(claim, words):
    (mistake,) = claim_mistakes(build(CLAIMS, claim), [], NAMES)
    assert mistake.startswith(words)


def test_an_unknown_check_is_named():
    claim = build(CLAIMS, {"kind": "theorem_holds", "check": "dominate"})
    assert list(claim_mistakes(claim, ["dominates"], NAMES)) == ["check: no check 'dominate'; allowed: dominates"]


CLAIMS_OF_MINE = {
    "flatter": {**FLATTER, "statement": "GAM is flatter."},
    "smaller_trace": {**FLATTER, "quantity": "trace", "statement": "GAM has a smaller trace."},
    "below_sam": {**FLATTER, "baseline": {"kind": "sam"}, "statement": "GAM is flatter than SAM."},
}


def config_with(claims):
    return {
        "name": "tiny",
        "seeds_per_job": 1,
        "datasets": {"digits": {"kind": "digits", "train_size": 100}},
        "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 6}},
        "methods": {
            "sgd": {"kind": "sgd", "lr": 0.1},
            "gam": {"kind": "gam", "rho": 0.1, "alpha": 0.1, "base": {"kind": "sgd", "lr": 0.1}},
        },
        "analyses": {"spectrum": {"kind": "hessian_spectrum"}},
        "studies": {
            "mine": {
                "grid": [
                    {
                        "datasets": ["digits"],
                        "models": ["mlp"],
                        "methods": ["sgd", "gam"],
                        "seeds": 2,
                        "training": {"epochs": 1},
                        "snapshots": [1],
                        "analyses": ["spectrum"],
                        "record": ["loss"],
                    }
                ],
                "claims": claims,
            }
        },
    }


@pytest.fixture
def answer_for(make_config):
    return lambda claims: validate(make_plan([make_config(config_with(claims))]))


@pytest.fixture
def answer(answer_for):
    return answer_for(CLAIMS_OF_MINE)


def test_what_claims_select_and_why_some_are_never_decided(answer):
    assert answer["errors"] == []
    lines = list(claims_lines(answer["claims"], with_cells=True))
    flatter = lines.index("  flatter: 1 cell of 2 seeds")
    assert lines[flatter + 1] == "    digits/mlp/gam against digits/mlp/sgd"
    never = "never decided: no selected cell records trace in the measurements"
    assert f"  smaller_trace: 1 cell of 2 seeds; {never}" in lines
    assert any(line.startswith("  below_sam: 1 cell; never decided: no selected cell has a baseline") for line in lines)


@pytest.mark.parametrize(
    ("selectors", "why"),
    [
        ({"models": {"width": 60}}, "models: width: wants 60, the cells have 6"),
        ({"models": {"kind": "mlp", "depth": {"above": 1}}}, "models: depth: wants {'above': 1}, the cells have 1"),
        ({"methods": {"name": "gma"}}, "methods: name: wants 'gma', the cells have gam, sgd"),
        ({"methods": {"base": {"lr": 0.2}}}, "methods: base: lr: wants 0.2, the cells have 0.1"),
        ({"training": {"epochs": 2}, "roles": ["mian"]}, "training: epochs: wants 2, the cells have 1; roles: wants"),
        ({"roles": ["mian"]}, "roles: wants [mian], the cells have main"),
        ({"record": "bits"}, "record: wants 'bits', which no cell has"),
    ],
)
def test_a_selector_that_fits_no_cell_is_named_with_the_nearest_values(answer_for, selectors, why):
    claims = {"mine": {**FLATTER, **selectors, "statement": "GAM is flatter."}}
    (_, line) = claims_lines(answer_for(claims)["claims"], with_cells=False)
    assert line.startswith(f"  mine: 0 cells; never decided: the grid has no cell that the claim selects ({why}")


def test_the_list_of_claims_may_be_cut_down_by_name(answer):
    lines = list(claims_lines(answer["claims"], with_cells=False, names=["*trace*"]))
    assert [line.partition(":")[0].strip() for line in lines] == ["mine", "smaller_trace"]
    assert len(list(claims_lines(answer["claims"], with_cells=False, names=["mine"]))) == 4
    with pytest.raises(ConfigError, match="got 'nothing'; allowed: below_sam, flatter, mine, smaller_trace"):
        list(claims_lines(answer["claims"], with_cells=False, names=["nothing"]))
