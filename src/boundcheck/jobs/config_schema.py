"""The JSON schema of a config, made from the classes of all kinds. `boundcheck schema` prints it.

Editors use it to check a config file. Planning checks a config against it without importing a kind. Two of its keys
are not part of JSON Schema: `words` says in words what a value may be, if the other keys do not say it well;
`complete` lists the keys that must be present once all layers of a config are merged.
"""

from __future__ import annotations

from typing import Any

from boundcheck.data.augment import Augment
from boundcheck.data.view import View
from boundcheck.jobs.kind_schemas import Schema, choice_by_kind, kind_schema, registry_of, settings_schema
from boundcheck.planning.job_code import REGISTRIES
from boundcheck.planning.schema import KIND
from boundcheck.settings import TrainingSettings

NAME_WORDS = 'a name: 1 to 64 letters, digits, "_", "-", "+" or ".", beginning with a letter, without ".."'
COUNT = {"type": "integer", "minimum": 1}
SWEEP = {
    "description": "values of settings; the variant is made once for each combination of them",
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {"type": ["number", "string", "boolean"]},
    },
}
TIMES = {
    "type": "string",
    "pattern": "^x[1-9][0-9]{0,3}$",
    "words": "in a method x2, x4, ... times the epochs of the block",
}

CLAIM_KEYS: dict[str, Schema] = {  # of every claim, beside the settings of its kind
    "statement": {"description": "the sentence that is decided; only the report uses it", "type": "string"},
    "reference": {"description": "where it is stated; only the report uses it", "type": "string"},
    "paper_value": {"description": "the paper's own number; only the report uses it", "type": ["string", "number"]},
}
TABLE_KEYS: dict[str, Schema] = {  # of a table of claims, which planning expands before it checks
    "name": {"description": "the template of the names of the claims of a table", "type": "string"},
    "each": {"description": "a table of claims: options by axis, one claim for each combination", "type": "object"},
    "except": {"description": "combinations of options that are left out", "type": "array"},
    "with": {"description": "further settings of some combinations", "type": "array"},
}


def config_schema() -> Schema:
    """The schema of a config, both of a single file and of all files merged."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "boundcheck config",
        "type": "object",
        "additionalProperties": False,
        "complete": ["name", "studies"],
        "properties": {
            "name": {"description": "the scale: results/<name> and reports/<name>", **_ref("name")},
            "seeds_per_job": {"description": "seeds that one job trains", **COUNT},
            **_variants("datasets", "models", "methods", "analyses"),
            "studies": {
                "type": "object",
                "propertyNames": _ref("name"),
                "additionalProperties": _ref("study"),
                "maxProperties": 100,
                "words": "a mapping from names to studies, at most 100",
            },
        },
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Schema]:
    sections = {section: _variant(section) for section in REGISTRIES}
    kinds = {
        f"{section}.{kind}": _in_config(section, kind_schema(section, kind))
        for section in REGISTRIES
        for kind in sorted(registry_of(section))
    }
    name = {"words": NAME_WORDS, "type": "string", "pattern": r"^(?!.*\.\.)[A-Za-z][A-Za-z0-9_+.-]{0,63}(?![\s\S])"}
    names = {"type": "array", "minItems": 1, "items": _ref("name"), "words": "a list of at least one name"}
    return {
        "name": name,
        "names": names,
        "study": _study(),
        "block": _block(),
        "training": training_schema(),
        "sweep": SWEEP,
        **sections,
        **kinds,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _variants(*sections: str) -> dict[str, Schema]:
    """The keys of a config or a study that are mappings from names to variants."""
    return {
        section: {
            "type": "object",
            "propertyNames": _ref("name"),
            "additionalProperties": _ref(section),
            "words": "a mapping from names to variants",
        }
        for section in sections
    }


def _variant(section: str) -> Schema:
    """A variant of a section. A variant without a kind changes settings of the same variant in another layer."""
    return {
        "type": "object",
        "complete": ["kind"],
        "properties": {"kind": _names(section), **(CLAIM_KEYS | TABLE_KEYS if section == "claims" else {})},
        "allOf": choice_by_kind(section, registry_of(section)),
        "words": "a variant, {kind: ..., and its settings}",
    }


def _names(section: str) -> Schema:
    """The kinds of a section. Planning leaves unknown kinds to the registry, which may be newer than the schema."""
    return {"title": KIND, "enum": sorted(registry_of(section))}


def _in_config(section: str, schema: Schema) -> Schema:
    """Add to the schema of a kind what its variants may have in a config, such as `sweep`."""
    properties = {**schema["properties"]}
    if section == "datasets":
        properties |= settings_schema(View)
    if section == "methods":
        properties["training"] = {"description": "settings that override the block's training", **_ref("training")}
    if section == "claims":
        properties |= {key: {} for key in CLAIM_KEYS | TABLE_KEYS}  # defined for all kinds of claims at once
    if section in ("checks", "claims"):  # tables of claims give the rest
        return {**schema, "properties": properties, "required": ["kind"]}
    if section == "record":
        return schema
    properties["sweep"] = _ref("sweep")
    needed = schema["required"][1:]
    rest = {key: value for key, value in schema.items() if key not in ("properties", "required")}
    swept = {"if": {"required": ["sweep"]}, "else": {"required": needed}} if needed else {}
    return {**rest, "properties": properties, "required": ["kind"], **swept}


def _study() -> Schema:
    return {
        "words": "a mapping of keys, or the path of a file with them",
        "type": ["object", "string"],
        "additionalProperties": False,
        "properties": {
            **_variants("datasets", "models", "methods", "analyses"),
            "defaults": {"description": "keys for every block of the grid that does not set them", **_ref("block")},
            "grid": {"type": "array", "items": _ref("block")},
            **_variants("checks", "claims"),
        },
    }


def _block() -> Schema:
    epoch = {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "last"}]}
    record = {
        "words": "the kind of a recorder, or a mapping of its kind and settings",
        "type": ["string", "object"],
        "if": {"type": "string"},
        "then": _names("record"),
        "else": _ref("record"),
    }
    return {
        "description": "every combination of its datasets, models and methods is a cell",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "datasets": _ref("names"),
            "models": _ref("names"),
            "methods": _ref("names"),
            "seeds": {"description": "runs of each cell", **COUNT},
            "seeds_per_job": {"description": "seeds that one job trains", **COUNT},
            "training": _ref("training"),
            "snapshots": {
                "description": "epochs whose weights are kept and measured",
                "type": "array",
                "maxItems": 1000,
                "items": epoch,
            },
            "analyses": {"description": "what is measured on them", "type": "array", "items": _ref("name")},
            "record": {
                "description": "what is recorded during training",
                "type": "array",
                "maxItems": 100,
                "items": record,
            },
            "role": {
                "description": "claims use main, and other roles only if they name them",
                "words": "a name, or a list of names",
                "anyOf": [_ref("name"), _ref("names")],
            },
        },
    }


def training_schema() -> Schema:
    """The settings of a training in the form that they have in a config."""
    properties: dict[str, Any] = settings_schema(TrainingSettings)
    epochs = properties["epochs"]
    count = {key: epochs.pop(key) for key in ("type", "minimum", "maximum")}
    epochs["anyOf"] = [count, TIMES]
    kept = {key: properties["teacher"][key] for key in ("description", "default")}
    properties["teacher"] = {**kept, "words": "the name of a dataset of kind teacher", **_ref("name")}
    augment = {"type": "object", "additionalProperties": False, "properties": settings_schema(Augment)}
    properties["augment"] = {**properties["augment"], **augment}
    return {"type": "object", "additionalProperties": False, "properties": properties}
