"""Tables of claims: one entry of claims.yaml that makes one claim for every combination of options.

An entry with the key `each` is a table. `each` lists the axes. An axis lists its options by name; an option has the
settings that it adds to the claim and a `text`. The claim's name and sentences are made from templates: in `name`,
`{axis}` is the name of the option; in `statement` and `reference` it is the text of the option (`{axis[part]}` if the
text has parts):

    gam_ends_lower:
      kind: lower_value
      name: "{methods}_has_lower_{quantity}"
      statement: "{methods} ends at a lower {quantity} than its base."
      each:
        methods: {gam: {text: GAM, methods: {kind: gam}}}
        quantity: {sharpness: {quantity: sharpness}, trace: {quantity: trace, text: trace of the Hessian}}
      except: [{methods: gam, quantity: trace}]  # combinations that are left out
      with:  # further settings of some combinations
        - {of: {quantity: sharpness}, show: {spectral_density: eigenvalue λ}}
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import product
from string import Formatter
from typing import Any

from boundcheck.plain_text import shown

WORDS = ("statement", "reference", "paper_value")  # used in the report only; the other keys of a claim decide it
TEMPLATES = ("statement", "reference")
OF_TABLES = ("each", "except", "with", "name")
FORMS = {
    "each": "a mapping from axes to options, each option a mapping of settings",
    "except": "a list of mappings from axes to options",
    "with": "a list of mappings, each with the key `of`, a mapping from axes to options",
    **dict.fromkeys(("name", *TEMPLATES), "a text"),
}
MAX_CLAIMS = 1_000  # of the tables of a study
MAX_TEXT = 20_000  # characters of a sentence
TOO_MANY = f"allowed: at most {MAX_CLAIMS:,}"
IN_BRACES = re.compile(r"\w+(\[\w+\])?")  # an axis, or a part of its text
Claim = dict[str, Any]


class ClaimTableError(ValueError):
    """A mistake in a table of claims; the message names the entry."""


def expand_tables(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each table by its claims.

    Raises:
        ClaimTableError: two claims have one name, an option or axis does not exist, a template names an axis that does
            not exist, or a part of a table does not have its form.
    """
    expanded: dict[str, Any] = {}
    for entry, settings in claims.items():
        is_table = isinstance(settings, Mapping) and "each" in settings
        for name, claim in _expand(entry, settings) if is_table else [(entry, settings)]:
            if name in expanded:
                raise ClaimTableError(f"{entry}: two claims are called {name!r}; allowed: a name for each")
            expanded[name] = claim
        if is_table and len(expanded) > MAX_CLAIMS:
            raise ClaimTableError(f"{entry}: with it there are {len(expanded):,} claims; {TOO_MANY}")
    return expanded


def _expand(entry: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Claim]]:
    for key, form in FORMS.items():
        if key in table and not _has_form(key, table[key]):
            raise ClaimTableError(f"{entry}.{key}: got {shown(table[key])}; allowed: {form}")
    axes: Mapping[str, Mapping[str, Any]] = table["each"]
    num_claims = math.prod(map(len, axes.values()))
    if num_claims > MAX_CLAIMS:
        raise ClaimTableError(f"{entry}.each: makes {num_claims:,} claims; {TOO_MANY}")
    left_out = [_checked(entry, axes, combination) for combination in table.get("except", [])]
    additions = [(addition["of"], addition) for addition in table.get("with", [])]
    for of, _ in additions:
        _checked(entry, axes, of)
    common = {key: value for key, value in table.items() if key not in OF_TABLES}
    for options in product(*axes.values()):
        names = dict(zip(axes, options, strict=True))
        if any(_is_part(combination, names) for combination in left_out):
            continue
        claim = dict(common)
        for axis, option in names.items():
            claim |= {key: value for key, value in axes[axis][option].items() if key != "text"}
        for of, addition in additions:
            if _is_part(of, names):
                claim |= {key: value for key, value in addition.items() if key != "of"}
        texts = {axis: axes[axis][option].get("text", option.replace("_", " ")) for axis, option in names.items()}
        for word in TEMPLATES:
            if word in claim:
                claim[word] = _filled(entry, claim[word], texts)
        if "statement" in claim:
            claim["statement"] = claim["statement"][:1].upper() + claim["statement"][1:]
        default = "_".join((entry, *options))
        yield _filled(entry, table.get("name", default), names), claim


def _has_form(key: str, value: Any) -> bool:
    match key:
        case "each":
            axes = value.values() if isinstance(value, Mapping) else [None]
            options = [option for axis in axes for option in (axis.items() if isinstance(axis, Mapping) else [None])]
            return all(option and isinstance(option[0], str) and isinstance(option[1], Mapping) for option in options)
        case "except":
            return isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)
        case "with":
            return _has_form("except", value) and all(isinstance(entry.get("of"), Mapping) for entry in value)
        case _:
            return isinstance(value, str)


def _checked(entry: str, axes: Mapping[str, Mapping[str, Any]], combination: Mapping[str, Any]) -> Mapping[str, Any]:
    for axis, option in combination.items():
        if axis not in axes:
            raise ClaimTableError(f"{entry}: got the axis {axis!r}; allowed: {', '.join(axes)}")
        for name in _options(option):
            if not isinstance(name, str) or name not in axes[axis]:
                raise ClaimTableError(f"{entry}: {axis}: got {shown(name)}; allowed: {', '.join(axes[axis])}")
    return combination


def _is_part(combination: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    """Whether `names` has, on every axis of `combination`, the option or one of the options listed there."""
    return all(names[axis] in _options(wanted) for axis, wanted in combination.items())


def _options(wanted: str | list[str]) -> list[str]:
    return wanted if isinstance(wanted, list) else [wanted]


def _filled(entry: str, template: str, texts: Mapping[str, Any]) -> str:
    if len(template) + template.count("{") * max((len(str(text)) for text in texts.values()), default=0) > MAX_TEXT:
        raise ClaimTableError(f"{entry}: got a template of {len(template):,} characters; allowed: shorter ones")
    try:
        for _, name, form, conversion in Formatter().parse(template):
            if name is not None and (form or conversion or not IN_BRACES.fullmatch(name)):
                raise ValueError(name)  # a width of 10^9 would fill the memory
        return template.format(**texts)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        problem = f"got the template {shown(template)}; allowed in braces: {', '.join(texts)}"
        raise ClaimTableError(f"{entry}: {problem}") from error
