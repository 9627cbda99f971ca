"""Tables of claims become single claims."""

import pytest

from boundcheck.planning.claim_tables import ClaimTableError, expand_tables
from boundcheck.planning.claims import words_of

TABLE = {
    "kind": "lower_value",
    "name": "{measure}_of_{pair}",
    "statement": "{pair[method]} ends at a lower {measure} than {pair[other]}.",
    "reference": "see {pair[method]}",
    "relative": True,
    "each": {
        "pair": {
            "gam_against_sgd": {"text": {"method": "gradient norms", "other": "SGD"}, "methods": {"kind": "gam"}},
            "sam_against_sgd": {"text": {"method": "SAM", "other": "SGD"}, "methods": {"kind": "sam"}},
        },
        "measure": {
            "trace": {"quantity": "trace"},
            "r1": {"text": "R¹(0.2)", "quantity": "first_order_flatness", "coordinate": 0.2, "kind": "higher_value"},
        },
    },
}


def test_a_claim_for_every_combination():
    claims = expand_tables({"flat": TABLE, "single": {"kind": "x", "statement": "{not} a template."}})
    assert list(claims) == ["trace_of_gam_against_sgd", "r1_of_gam_against_sgd", "trace_of_sam_against_sgd",
                            "r1_of_sam_against_sgd", "single"]  # fmt: skip
    assert claims["r1_of_gam_against_sgd"] == {
        "kind": "higher_value",
        "statement": "Gradient norms ends at a lower R¹(0.2) than SGD.",
        "reference": "see gradient norms",
        "relative": True,
        "methods": {"kind": "gam"},
        "quantity": "first_order_flatness",
        "coordinate": 0.2,
    }
    assert claims["single"]["statement"] == "{not} a template."


def test_combinations_are_left_out_and_changed():
    claims = expand_tables(
        {
            "flat": {
                **TABLE,
                "except": [{"pair": ["sam_against_sgd"], "measure": "r1"}],
                "with": [{"of": {"measure": "trace"}, "show": {"density": "λ"}}],
            }
        }
    )
    assert len(claims) == 3
    assert {name for name, claim in claims.items() if "show" in claim} == {
        "trace_of_gam_against_sgd", "trace_of_sam_against_sgd"
    }  # fmt: skip


def test_without_a_template_a_name_is_made_of_the_options():
    table = {key: value for key, value in TABLE.items() if key != "name"}
    assert "flat_gam_against_sgd_r1" in expand_tables({"flat": table})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "{pair}"}, "flat: two claims are called 'gam_against_sgd'"),
        ({"statement": "{measures}"}, r"flat: got the template '{measures}'; allowed in braces: pair, measure"),
        ({"except": [{"measure": "r2"}]}, "flat: measure: got 'r2'; allowed: trace, r1"),
        ({"with": [{"of": {"pairs": "x"}}]}, "flat: got the axis 'pairs'; allowed: pair, measure"),
    ],
)
def test_a_mistake_is_named(change, problem):
    with pytest.raises(ClaimTableError, match=problem):
        expand_tables({"flat": {**TABLE, **change}})


def test_a_number_in_a_statement_is_that_of_the_setting():
    claim = {"kind": "descent_breaks", "statement": "At {times} times E_{k+1} rises, {s} or not.", "times": 8.0}
    assert words_of(claim) == {"statement": "At 8 times E_{k+1} rises, {s} or not."}
    assert words_of({**claim, "times": 2})["statement"].startswith("At 2 times")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("each", ["gam"]),
        ("each", {"methods": {"gam": None}}),
        ("each", {"methods": {1: {}}}),
        ("except", {"methods": "gam"}),
        ("with", [{"methods": "gam"}]),
        ("statement", 3),
    ],
)
def test_a_part_of_another_form_is_named(key, value):
    table = {"kind": "lower_value", "each": {"methods": {"gam": {}}}, key: value}
    with pytest.raises(ClaimTableError, match=rf"^mine\.{key}: got .*; allowed: a"):
        expand_tables({"mine": table})


def test_an_entry_that_is_no_claim_is_left_to_the_schema():
    assert expand_tables({"mine": 3, "other": None}) == {"mine": 3, "other": None}
