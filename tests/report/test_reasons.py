"""Every reason that the code gives can be put into words, with the values that it has."""

import ast
import inspect
import json
import string
from pathlib import Path

import boundcheck
from boundcheck.report.reasons import WORDINGS, as_json, worded
from boundcheck.verdicts import because

CLAIMS = Path(boundcheck.__file__).parent / "claims"


def reasons_in_the_code():
    """Kind, names of values, and whether there are more (`**values`), of every call of `because`."""
    for path in sorted(CLAIMS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "because":
                kind = getattr(node.args[0], "value", None)
                yield (
                    kind,
                    {word.arg for word in node.keywords if word.arg},
                    any(word.arg is None for word in node.keywords),
                )


def wanted_values(wording):
    """Names that a wording needs, and all that it takes."""
    if isinstance(wording, str):
        names = {field.partition(".")[0] for _, field, _, _ in string.Formatter().parse(wording) if field}
        return names, None
    parameters = inspect.signature(wording).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}, {p.name for p in parameters}


def test_every_reason_has_words_for_its_values():
    found = list(reasons_in_the_code())
    assert len(found) > 30
    for kind, values, has_more in found:
        assert isinstance(kind, str), "the kind of a reason is written out"
        assert kind in WORDINGS
        needed, allowed = wanted_values(WORDINGS[kind])
        assert needed <= values or has_more, kind
        assert allowed is None or values <= allowed, kind


def test_no_words_without_a_reason():
    assert set(WORDINGS) <= {kind for kind, *_ in reasons_in_the_code()}


def test_reasons_are_kept_as_json_beside_their_words():
    reasons = [because("holds"), because("absent_runs", status="diverged", num=2, seeds={"d/m/sgd": [0, 2]})]
    assert worded(reasons) == "it holds on every row; 2 runs diverged (d/m/sgd 0, 2)"
    assert json.loads(as_json(reasons))[1] == {
        "kind": "absent_runs",
        "values": {"status": "diverged", "num": 2, "seeds": {"d/m/sgd": [0, 2]}},
    }


def test_a_selector_reads_as_in_a_config():
    wanted = {"baseline": {"kind": "sam", "rho": {"same_as": "rho", "times": 0.5}}, "roles": ["main"]}
    assert worded([because("no_baseline", wanted=wanted)]).endswith(
        "wanted: {baseline: {kind: sam, rho: {same_as: rho, times: 0.5}}, roles: [main]}"
    )


def test_a_verdict_within_the_shortfall_says_what_its_estimate_does_not_see():
    text = worded([because("within_shortfall", decision="supported", unit="", changed=[(0.1, -0.1, 0.3)])])
    assert "where all of them reach one maximum it is 0 and says nothing of higher ones" in text
