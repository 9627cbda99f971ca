"""The claim that a network compresses better than another: a comparison that is drawn against the size of the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boundcheck.claims.dag_momentum.pictures import families_of, picture_figures, size_figure
from boundcheck.claims.shared.compared import Compared
from boundcheck.claims.shared.comparison import HigherValue
from boundcheck.claims.shared.figures import in_words
from boundcheck.settings import settings
from boundcheck.verdicts import Figure


@settings(kw_only=True)
class CompressesBetter(HigherValue):
    """`higher_value` of a measure of reconstruction, drawn against a size, with reconstructions beside the originals.

    Args:
        size: a measured quantity (`code_size`) against which the measure is drawn.
    """

    size: str

    def figures(self, compared: Compared, evidence: Sequence[Mapping[str, Any]]) -> list[Figure]:
        """As of any comparison, the measure against the size, and pictures."""
        rows = compared.tables.measurements
        sizes = rows[rows["quantity"] == self.size].groupby("model")["value"].max()
        pairs = sorted(compared.pairs, key=lambda pair: sizes.get(pair.cell[1], 0.0))
        twins = {pair.cell[1]: pair.baseline[1] for pair in pairs if pair.baseline and pair.baseline != pair.cell}
        families = families_of({pair.cell[1] for pair in pairs}, twins.values())
        label = in_words(self.quantity) + (f" ({self.effect_unit})" if self.effect_unit else "")
        drawn = size_figure(rows, self.size, {self.quantity: label}, families)
        return [*super().figures(compared, evidence), *([drawn] if drawn else []), *picture_figures(rows, twins)]
