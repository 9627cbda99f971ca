"""The variants that a study can use, with every sweep replaced by its variants."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boundcheck.plain_text import shown
from boundcheck.planning.config import VARIANTS, Config, ConfigError, Sources

NAME = re.compile(r"(?!.*\.\.)[A-Za-z][A-Za-z0-9_+.-]{0,63}")  # as the schema has it; a name is a folder
MAX_MEMBERS = 1_000  # variants that the sweeps of a section make in a study


@dataclass
class Scope:
    """The names that a study can use.

    - `variants`: by section, the variants by name.
    - `members`: by section, for a variant with a sweep, the names of the variants that the sweep makes.
    - `keys`: the position in the config of each (section, name).
    """

    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def resolve(self, section: str, names: Sequence[str]) -> list[str]:
        """The names with each swept variant replaced by the variants of its sweep.

        Raises:
            ConfigError: a name is not that of a variant.
        """
        resolved: list[str] = []
        for name in names:
            if name not in self.variants[section] and name not in self.members[section]:
                allowed = ", ".join(sorted([*self.variants[section], *self.members[section]]))
                raise ConfigError(f"no variant {shown(name)} in {section}; allowed: {allowed}")
            resolved += self.members[section].get(name, [name])
        return list(dict.fromkeys(resolved))


def scope_of(config: Config, study: str, sources: Sources) -> Scope:
    """The variants that a study can use: those of the top level and its own, which hide others of the same name.

    A variant `mlp` with a sweep over `width: [16, 64]` becomes `mlp_width16` and `mlp_width64`.

    Raises:
        ConfigError: a sweep makes a name that is not allowed, or that another variant has.
    """
    scope = Scope()
    for section in VARIANTS:
        own: Config = config["studies"][study].get(section, {})
        written: Config = {**config.get(section, {}), **own}
        scope.variants[section], scope.members[section] = {}, {}
        num_members = 0
        for name, variant in written.items():
            where = ("studies", study, section, name) if name in own else (section, name)
            members = {name: variant}
            if "sweep" in variant:
                num_members += math.prod(map(len, variant["sweep"].values()))
                if num_members > MAX_MEMBERS:
                    problem = f"up to here, the sweeps of {section} make {num_members:,} variants"
                    raise sources.error((*where, "sweep"), f"{problem}; allowed: at most {MAX_MEMBERS:,}")
                try:
                    members = _swept(name, variant, written)
                except ConfigError as mistake:
                    raise sources.error((*where, "sweep"), str(mistake)) from None
                scope.members[section][name] = list(members)
            scope.variants[section] |= members
            scope.keys |= {(section, member): where for member in members}
    return scope


def _swept(name: str, variant: Config, written: Config) -> dict[str, Any]:
    """The variants of a sweep by name."""
    rest = {key: value for key, value in variant.items() if key != "sweep"}
    members = {}
    for suffix, values in _combinations(variant["sweep"]):
        member = f"{name}_{suffix}"
        if not NAME.fullmatch(member):
            raise ConfigError(
                f"makes the name {shown(member)}; allowed: letters, digits, _, -, + and ., at most 64, no .."
            )
        if member in written or member in members:
            raise ConfigError(f"makes {member!r}, which is already a variant")
        members[member] = _with_values(rest, values)
    return members


def _combinations(sweep: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        yield "_".join(f"{key.rpartition('.')[2]}{value}" for key, value in chosen.items()), chosen


def _with_values(variant: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The variant with values set at dotted keys (such as `base.lr`)."""
    result = dict(variant)
    for key, value in values.items():
        head, _, rest = key.partition(".")
        inside = result.get(head, {})
        if rest and not isinstance(inside, Mapping):
            raise ConfigError(f"{head}: got {shown(inside)}; allowed: a mapping of keys, for the sweep over {key!r}")
        result[head] = _with_values(inside, {rest: value}) if rest else value
    return result
