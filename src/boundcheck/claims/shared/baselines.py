"""The baseline of each selected cell: the one other cell that it is compared with, at equal dataset and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from boundcheck.claims.shared.selection import (
    MAIN,
    CellKey,
    Cells,
    Recorded,
    Selected,
    Selector,
    SelectsCells,
    Settings,
    has_recorder,
    has_role,
    is_equal,
    matches,
)
from boundcheck.claims.shared.values import UndecidableError
from boundcheck.settings import settings
from boundcheck.verdicts import Reason, because

NO_VALUE = object()  # equals nothing
OWN = ("name", "num_gradients")  # what `others: same` leaves free


@dataclass(frozen=True)
class Pair:
    """A cell and its baseline; None where the grid has no baseline for it."""

    cell: CellKey
    baseline: CellKey | None

    @property
    def cells(self) -> list[CellKey]:
        """The cell, and its baseline where it has one."""
        return [key for key in (self.cell, self.baseline) if key]

    @property
    def baseline_name(self) -> str:
        """The baseline's model and method, where they differ from the cell's; "" for the cell itself."""
        if self.baseline is None:
            return ""
        return "/".join(theirs for theirs, own in zip(self.baseline[1:], self.cell[1:], strict=True) if theirs != own)


@settings(kw_only=True)
class SelectsPairs(SelectsCells):
    """Selects cells and a baseline for each, at equal dataset and training.

    A selector of baselines may refer to the settings of the compared cell: `rho: same`, `rho: {same_as: oracle_rho}`,
    `lr: {same_as: lr, times: 1.5}`; `others: same` stands for all settings that the selector does not name.

    Args:
        baseline: selector of the baseline's method; `same`: the compared cell's own; `base`: the base optimizer of the
            compared method.
        baseline_model: selector of the baseline's model; `same`: the compared cell's own.
        baseline_record: selector of recorders; some recorder of the baseline must be selected.
        baseline_roles: the roles of grid blocks among which baselines are looked for.
        budget: `equal_epochs`: all training settings are equal; `equal_gradients`: all but the epochs, and the number
            of gradient evaluations (epochs times those of a step) is equal.
    """

    baseline: Selector = "same"
    baseline_model: Selector = "same"
    baseline_record: Selector = field(default_factory=dict)
    baseline_roles: Sequence[str] = (MAIN,)
    budget: Literal["equal_epochs", "equal_gradients"] = "equal_epochs"

    def pairs(self, cells: Cells) -> list[Pair]:
        """The selected cells with their baselines, sorted; a cell that is a baseline is not compared with itself.

        Raises:
            UndecidableError: more than one cell is the baseline of a selected one.
        """
        chosen = self.chosen(cells)
        if self.baseline == "same" and self.baseline_model == "same":
            return [Pair(key, key) for key in chosen]
        pairs = []
        for key in chosen:
            candidates = self._baselines(key, cells)
            if len(candidates) > 1:
                raise UndecidableError(because("several_baselines", cell=key, baselines=candidates))
            if candidates != [key]:
                pairs.append(Pair(key, candidates[0] if candidates else None))
        return pairs

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """As of any claim; never decided also where no cell has a baseline, or none has two seeds in common with it."""
        plain = super().selects(cells, recorded)
        try:
            pairs = self.pairs(cells)
        except UndecidableError as several:
            return plain._replace(never=[*plain.never, several.reason])
        common = [
            len(set(cells[pair.cell]["seeds"]) & set(cells[pair.baseline]["seeds"])) for pair in pairs if pair.baseline
        ]
        never: list[Reason] = list(plain.never)
        if pairs and not common:
            never.append(because("no_baseline", wanted=self.wanted()))
        elif pairs and min(common) < 2:
            never.append(because("one_common_seed"))
        return Selected(
            [pair.cell for pair in pairs], {p.cell: p.baseline for p in pairs}, min(common, default=0), never
        )

    def _baselines(self, key: CellKey, cells: Cells) -> list[CellKey]:
        cell = cells[key]
        method = bound(self.baseline, cell["method"])
        model = bound(self.baseline_model, cell["model"])
        return sorted(
            other
            for other, candidate in cells.items()
            if other[0] == key[0]
            and has_role(candidate, self.baseline_roles)
            and has_recorder(candidate, self.baseline_record)
            and matches(method, candidate["method"])
            and matches(model, candidate["model"])
            and self._has_equal_budget(cell, candidate)
        )

    def _has_equal_budget(self, cell: Settings, other: Settings) -> bool:
        if self.budget == "equal_epochs":
            return is_equal(cell["training"], other["training"])
        plain = [{name: v for name, v in c["training"].items() if name != "epochs"} for c in (cell, other)]
        gradients = [c["training"]["epochs"] * c["method"]["num_gradients"] for c in (cell, other)]
        return gradients[0] == gradients[1] and is_equal(*plain)

    def wanted(self) -> dict[str, Any]:
        """What baselines are looked for, for a reason."""
        own = {name: getattr(self, name) for name in ("baseline", "baseline_model", "budget")}
        return {name: value for name, value in own.items() if value != "same"} | {"roles": self.baseline_roles}


def bound(selector: Selector, compared: Settings) -> Selector:
    """A baseline's selector with its references replaced by the settings of the compared cell's method, or model."""
    if selector == "same":
        return _equal_to({"name": compared["name"]})
    if selector == "base":
        base = compared.get("base")
        return _equal_to(base) if isinstance(base, Mapping) else {"kind": {"equals": NO_VALUE}}
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, Mapping):
        return [entry if isinstance(entry, str) else _bound_mapping(entry, compared, compared) for entry in selector]
    return _bound_mapping(selector, compared, compared)


def _bound_mapping(selector: Mapping[str, Any], inside: Settings, compared: Settings) -> dict[str, Any]:
    """References of a mapping: `same` is the value at the same place `inside`, `same_as` is looked up in `compared`."""
    concrete: dict[str, Any] = {}
    for name, wanted in selector.items():
        if name == "others":
            continue
        if wanted == "same":
            concrete[name] = {"equals": inside.get(name, NO_VALUE)}
        elif isinstance(wanted, Mapping) and "same_as" in wanted:
            concrete[name] = {"equals": _referred(wanted, compared)}
        elif isinstance(wanted, Mapping):
            part = inside.get(name)
            concrete[name] = _bound_mapping(wanted, part if isinstance(part, Mapping) else {}, compared)
        else:
            concrete[name] = wanted
    if selector.get("others") == "same":
        concrete |= _equal_to({name: v for name, v in inside.items() if name not in selector and name not in OWN})
    return concrete


def _referred(reference: Mapping[str, Any], compared: Settings) -> Any:
    """The value that `{same_as: base.lr, times: 2}` stands for; a value that equals nothing where there is none."""
    value: Any = compared
    for part in reference["same_as"].split("."):
        value = value.get(part, NO_VALUE) if isinstance(value, Mapping) else NO_VALUE
    factor = reference.get("times", 1)
    return value * factor if isinstance(value, int | float) and factor != 1 else value


def _equal_to(variant: Settings) -> dict[str, Any]:
    return {name: {"equals": value} for name, value in variant.items() if name != "name" or len(variant) == 1}
