"""Checks and claims: what each paper states, and how the curves decide it."""

from boundcheck.registry import lazy

CHECKS: dict[str, str] = {
    "zeroth_below_first": "boundcheck.claims.gam:ZerothBelowFirst",
    "flatness_curvature": "boundcheck.claims.gam:FlatnessCurvature",
}
CLAIMS: dict[str, str] = {
    "theorem_holds": "boundcheck.claims.theorem_holds:TheoremHolds",
    "lower_value": "boundcheck.claims.comparison:LowerValue",
    "higher_value": "boundcheck.claims.comparison:HigherValue",
}

__getattr__ = lazy(__name__, CHECKS, CLAIMS)
