"""Which trainings of binary weights have the same bits by theory, found from the settings of their cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Literal, NamedTuple

from boundcheck.claims.shared.selection import (
    CellKey,
    Cells,
    Recorded,
    Selected,
    SelectsCells,
    Settings,
    is_equal,
    matches,
)
from boundcheck.settings import settings
from boundcheck.theory.binary_filter.symmetry import Latent, rescaled, rescaled_with_form_2
from boundcheck.verdicts import because

MAGNITUDES = ("init_scale", "lr", "weight_decay")
RelationName = Literal["filter", "wrong_filter", "rescaled", "rescaled_form_2", "clipped"]
Twins = tuple[CellKey, CellKey]


class Relation(NamedTuple):
    """How the second of two trainings follows from the first, and where theory says that they have the same bits."""

    holds: Callable[[Settings, Settings], bool]  # of two cells of one network and one training
    scalings: Sequence[str] = ()  # the layers for which the bits are the same
    needs_float64: bool = False  # false where both trainings do the same arithmetic up to powers of two


def is_filter(latent: Settings, filtered: Settings) -> bool:
    """Whether the second cell is the exact filter that the latent training of the first is, clipping aside."""
    return _maps(latent, filtered, "clip") and _is_exact(filtered)


def is_wrong_filter(latent: Settings, filtered: Settings) -> bool:
    """Whether the second cell is a filter that only approximates the latent training of the first."""
    return _maps(latent, filtered) and not _is_exact(filtered)


def is_rescaled(first: Settings, second: Settings, form_2: bool = False) -> bool:
    """Whether the second training is the first with (s w_0, s lr, weight_decay/s), s = 2, 4, 8, …

    Of layers that are scaled in form 2 it is (s w_0, s² lr, weight_decay/s²).
    """
    if not all(name in cell["method"] for cell in (first, second) for name in MAGNITUDES):
        return False
    mine, theirs = (tuple(cell["method"][name] for name in MAGNITUDES) for cell in (first, second))
    scale = theirs[0] / mine[0] if mine[0] else math.nan
    if not (scale > 1 and math.frexp(scale)[0] == 0.5):
        return False
    rule = rescaled_with_form_2 if form_2 else rescaled
    expected = tuple(map(float, rule(Latent(*mine), scale)))
    return expected == theirs and are_equal_but(MAGNITUDES, first["method"], second["method"])


def is_clipped(first: Settings, second: Settings) -> bool:
    """Whether the second training is the first with latent weights that are clamped to [−1, 1]."""
    clips = [matches({"clip": clip}, cell["method"]) for clip, cell in ((False, first), (True, second))]
    return all(clips) and are_equal_but(["clip"], first["method"], second["method"])


def are_equal_but(names: Sequence[str], first: Settings, second: Settings) -> bool:
    """Whether two methods have equal settings, those of these names left aside."""
    return is_equal(*({k: v for k, v in method.items() if k not in ("name", *names)} for method in (first, second)))


def are_comparable(first: Settings, second: Settings) -> bool:
    """Whether two cells are of one network and have equal training settings."""
    is_one_network = all(first[key]["name"] == second[key]["name"] for key in ("dataset", "model"))
    return is_one_network and is_equal(first["training"], second["training"])


RELATIONS: dict[str, Relation] = {
    "filter": Relation(is_filter, ("none", "form_1_dyadic"), needs_float64=True),
    "wrong_filter": Relation(is_wrong_filter),
    "rescaled": Relation(is_rescaled, ("none", "form_1", "form_1_dyadic")),
    "rescaled_form_2": Relation(lambda first, second: is_rescaled(first, second, form_2=True), ("form_2",)),
    "clipped": Relation(is_clipped),
}


def twins(cells: Cells, chosen: Sequence[CellKey], relations: Sequence[str]) -> Iterator[Twins]:
    """By relation, every two of the chosen cells that stand in it, of one network and with equal training settings."""
    pairs = [pair for pair in permutations(sorted(chosen), 2) if are_comparable(*(cells[key] for key in pair))]
    for name in relations:
        yield from (pair for pair in pairs if RELATIONS[name].holds(*(cells[key] for key in pair)))


def one_of_equals(cells: Cells, chosen: Sequence[CellKey]) -> list[CellKey]:
    """The chosen cells without those whose bits are by theory those of another one: of latent weights near scale 1."""

    def far_from_1(key: CellKey) -> tuple[bool, float]:
        method = cells[key]["method"]
        return "latent" in method, abs(math.log(method["init_scale"] or 1e-300)) if "init_scale" in method else 0.0

    ordered = sorted(chosen, key=lambda key: (*far_from_1(key), key))
    equal = {frozenset(pair) for pair in twins(cells, chosen, ["filter", "rescaled"])}
    kept: list[CellKey] = []
    for key in ordered:
        if not any(frozenset((key, other)) in equal for other in kept):
            kept.append(key)
    return sorted(kept)


def has_constant_rate(training: Settings) -> bool:
    """Whether the learning rate never moves."""
    return training["lr_schedule"] == "constant" and not training["warmup_epochs"]


@settings(kw_only=True)
class SelectsTwins(SelectsCells):
    """Selects pairs of trainings by how one follows from the other; both are selected cells of equal training.

    Args:
        relations: `filter`: a latent training and its exact filter; `wrong_filter`: and a filter that is not exact
            under its schedule; `rescaled`: a training and the one with (s w_0, s lr, weight_decay/s), s a power of two;
            `rescaled_form_2`: (s w_0, s² lr, weight_decay/s²); `clipped`: a training and the same with clipped weights.
    """

    relations: Sequence[RelationName]

    def related(self, cells: Cells) -> list[Twins]:
        """The selected pairs, by relation."""
        return list(twins(cells, super().chosen(cells), self.relations))

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The cells of the selected pairs, sorted."""
        return sorted({key for pair in self.related(cells) for key in pair})

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """See SelectsCells: the second cell of each pair with the first as its baseline."""
        pairs, none_is_there = self.related(cells), not super().chosen(cells)
        why = because("no_cell") if none_is_there else because("no_twins", relations=list(self.relations))
        never = [] if pairs else [why]
        seeds = [len(set(cells[a]["seeds"]) & set(cells[b]["seeds"])) for a, b in pairs]
        baselines: dict[CellKey, CellKey | None] = {b: a for a, b in pairs}
        return Selected(list(baselines), baselines, min(seeds, default=0), never)


def _maps(latent: Settings, filtered: Settings, *besides: str) -> bool:
    """Whether the second cell's filter is made from the settings of the first, those named `besides` left aside."""
    method = filtered["method"]
    return "latent" in method and are_equal_but(["num_gradients", *besides], method["latent"], latent["method"])


def _is_exact(filtered: Settings) -> bool:
    from boundcheck.methods.mapped_filter import is_exact

    return is_exact(filtered["method"]["mapping"], has_constant_rate(filtered["training"]))
