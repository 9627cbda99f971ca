"""What measuring may have missed, and whether a decision depends on it."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pandas as pd

from boundcheck.claims.shared.decision import Decided
from boundcheck.claims.shared.rows import RUN
from boundcheck.verdicts import Reason, because

if TYPE_CHECKING:
    from boundcheck.claims.shared.compared import Compared
    from boundcheck.claims.shared.comparison import Comparison

MISSED = {  # of what ascents find: the directions in which what they missed, by the `error`, would move it
    "*zeroth_order_flatness": (1,),
    "*first_order_flatness": (1,),
    "one_step_ratio": (-1,),
    "first_order_exponent": (-1, 1),
    "rescaled_flatness_ratio": (-1, 1),
}


def directions(quantity: str) -> tuple[int, ...]:
    """+1 and −1, as far as what ascents missed would raise or lower the quantity; empty where no ascent found it."""
    return next((signs for pattern, signs in MISSED.items() if fnmatchcase(quantity, pattern)), ())


def moved(rows: pd.DataFrame, sign: int) -> pd.DataFrame:
    """Tidy rows with the values that they would have by what is estimated that the ascents missed."""
    return rows.assign(value=rows["value"] + sign * rows["error"].fillna(0.0))


def heard(claim: Comparison, compared: Compared, decided: Decided) -> Decided:
    """The decision, or `inconclusive` where it is another one with what the ascents are estimated to have missed.

    Values found by ascent are lower bounds on maxima. Their shortfalls are not known to be alike, so the claim is
    decided again with those of the compared values alone, and with those of the baseline's alone.
    """
    if not compared.moved or decided.decision not in ("supported", "contradicted"):
        return decided
    changed = []
    for values, baseline_values in compared.moved:
        other = claim.decided(claim.differences(replace(compared, values=values, baseline_values=baseline_values)))
        if other.decision != decided.decision:
            changed.append(list(claim.effect(other.pooled)[:3]))
    if not changed:
        return decided
    reason = because("within_shortfall", decision=decided.decision, unit=claim.effect_unit, changed=changed)
    return decided._replace(decision="inconclusive", reasons=[reason, *decided.reasons])


def measuring_reasons(rows: pd.DataFrame, measurements: pd.DataFrame, quantity: str) -> list[Reason]:
    """What measuring says of the rows of a quantity: how many did not converge, or have no known shortfall."""
    reasons = []
    keys = [*RUN, "step", "analysis"]
    unsettled = measurements[(measurements["quantity"] == "converged") & (measurements["value"] == 0)]
    num = len(rows[keys].drop_duplicates().merge(unsettled[keys].drop_duplicates(), on=keys))
    if num:
        reasons.append(because("not_converged", quantity=quantity, num=num))
    unknown = int(rows["error"].isna().sum()) if directions(quantity) else 0
    if unknown:
        reasons.append(because("shortfall_unknown", quantity=quantity, num=unknown))
    return reasons
