"""The types of the settings of every kind, and the settings of a training.

A kind is a dataclass made by `settings`. The types below say which values its fields may have. The checks, the error
messages, the schema for editors and the list of kinds are all made from them:

    @settings
    class Ridge:
        strength: Positive
        form: Literal["primal", "dual"] = "primal"

`__post_init__` checks only conditions between fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache, wraps
from typing import Annotated, Any, Literal, dataclass_transform

from annotated_types import Ge, Gt, Le, Len, Lt, MaxLen, MinLen  # noqa: F401 (kinds with ranges of their own take them here)
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from boundcheck.setting_words import allowed_words, refusal

Positive = Annotated[float, Gt(0)]  # numbers must be finite; true and false are refused
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
ShareAboveZero = Annotated[float, Gt(0), Le(1)]
InnerShare = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Depth = Annotated[int, Ge(1), Le(1000)]  # layers or blocks: each takes time even where only the shapes are made
Width = Annotated[int, Ge(1), Le(1_000_000)]  # units, channels and the like, of which there are arrays
Factor = Annotated[float, Gt(0), Le(1000)]  # of a width
Epochs = Annotated[int, Ge(0), Le(10_000_000)]

RULES = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", arbitrary_types_allowed=True)


def in_words(text: str) -> Any:
    """Annotation of a field: words for what it allows, used instead of words made from its type."""
    return Field(json_schema_extra={"words": text})


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(value)
    return value


NoTruth = BeforeValidator(_no_truth)  # for choices with 0 or 1: in Python False == 0 and True == 1


def among(section: str, *kinds: str) -> WithJsonSchema:
    """Annotation of a field that holds a variant: the section of its kinds, and which `kinds`; none given: all."""
    words = f"a variant, {{kind: {', '.join(kinds) or '...'}, and its settings}}"
    return WithJsonSchema({"type": "object", "words": words, "section": section, "kinds": list(kinds)})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(kind: Any = None, *, frozen: bool = True, kw_only: bool = False) -> Any:
    """A dataclass whose fields are checked against their annotations when an instance is made.

    A value that is not allowed raises a ValueError `field: got VALUE; allowed: WORDS`. Values are not converted, except
    an integer to a float. A field with `init=False` is not a setting and may hold anything.

    Args:
        kind: the class.
        frozen: False for classes with a state beside their settings, such as recorders.
        kw_only: whether settings are given by name only. Then a field without a default may follow an inherited field
            with one.
    """
    if kind is None:
        return lambda kind: settings(kind, frozen=frozen, kw_only=kw_only)
    for name, default in vars(kind).items():
        if isinstance(default, dataclasses.Field) and not default.init:
            kind.__annotations__[name] = Any
    made: Any = dataclass(frozen=frozen, kw_only=kw_only, config=RULES)(kind)
    checked = made.__init__

    @wraps(checked)
    def initialise(self: Any, *args: Any, **values: Any) -> None:
        try:
            checked(self, *args, **values)
        except ValidationError as error:
            raise _refused(made, error.errors()[0], args, values) from None

    made.__init__ = initialise
    return made


def check(name: str, value: object, annotation: Any) -> None:
    """Check a value that is not a field, such as an argument of an optimizer, against a type of this module.

    Raises:
        ValueError: the value is not allowed; the message has the name, the value and what is allowed.
    """
    adapter = _adapter(annotation)
    try:
        adapter.validate_python(value)
    except ValidationError:
        raise ValueError(refusal(name, value, adapter.json_schema())) from None


def words(annotation: Any) -> str:
    """What a type of this module allows, in words."""
    return allowed_words(_adapter(annotation).json_schema())


def field_schemas(kind: Any) -> dict[str, dict[str, Any]]:
    """JSON schema of each setting of a class made by `settings`, with its default but without a description."""
    properties = TypeAdapter(kind).json_schema()["properties"] if dataclasses.fields(kind) else {}
    return {field.name: _plain(properties[field.name]) for field in dataclasses.fields(kind) if field.init}


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=RULES)


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}


def _refused(kind: Any, error: ErrorDetails, args: Sequence[Any], values: Mapping[str, Any]) -> Exception:
    """The error to raise instead of pydantic's, from the first entry of its list of errors."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Exception) and not error["loc"]:  # of `__post_init__`
        return cause
    if error["type"] in ("multiple_argument_values", "unexpected_positional_argument"):
        return TypeError(f"{kind.__name__}: {error['msg']}")
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    key = error["loc"][0] if error["loc"] else ""
    name = names[key] if isinstance(key, int) and key < len(names) else str(key)
    given = {**dict(zip(names, args, strict=False)), **values}
    if name not in names:
        return ValueError(f"{name}: {kind.__name__} has no such setting; allowed: {', '.join(names) or 'none'}")
    if name not in given:
        return ValueError(f"{name}: {kind.__name__} needs this setting")
    return ValueError(refusal(name, given[name], field_schemas(kind)[name]))


@settings
class TrainingSettings:
    """How a cell is trained: the key `training` of a grid block, with the overrides of its method.

    Args:
        loss: what is minimised; `square` is against one-hot targets, or ±1 where there are two classes.
        label_smoothing: s of the targets (1 − s) onehot + s/K.
        teacher: of `distillation`: the name of a dataset of kind `teacher`; a job gets its variant and file.
        temperature: of `distillation`: what both networks' outputs are divided by.
        label_weight: of `distillation`: share of the cross entropy against the labels.
        epochs: passes over the training images.
        batch_size: images of a step, or `full`: then an epoch is one step.
        lr_schedule: how the learning rate moves.
        lr_update: whether it moves every step or every epoch.
        final_lr_factor: where `cosine` and `linear` end, as a share of the initial rate.
        warmup_epochs: epochs of the linear rise at the start.
        step_epochs: the epochs at which the schedule `step` lowers the learning rate.
        step_factor: what the schedule `step` multiplies the rate by each time.
        precision: of weights and sums; `bfloat16` computes the forward pass in bfloat16.
        channels_last: memory layout of convolutions; `auto` where it is faster.
        deterministic: whether a GPU uses deterministic kernels only.
        max_loss: a mini-batch loss beyond it, or NaN, is recorded as diverged.
        evaluate_every: epochs between evaluations on the whole splits.
        augment: `crop` (pixels of padding), `flip`, `cutout` (side in pixels).
    """

    loss: Literal["cross_entropy", "square", "reconstruction", "distillation"] = "cross_entropy"
    label_smoothing: ShareBelowOne = 0.0
    teacher: Mapping[str, Any] | None = None
    temperature: Positive = 1.0
    label_weight: ShareBelowOne = 0.0
    epochs: Epochs = 10
    batch_size: Count | Literal["full"] = 128
    lr_schedule: Literal["constant", "cosine", "linear", "step", "inverse_sqrt"] = "constant"
    lr_update: Literal["step", "epoch"] = "step"
    final_lr_factor: Share = 0.0
    warmup_epochs: NotNegative = 0
    step_epochs: Sequence[NotNegative] = ()
    step_factor: Positive = 0.1
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    channels_last: Literal["auto"] | bool = "auto"
    deterministic: bool = True
    max_loss: Positive = 1e4
    evaluate_every: Count = 1
    augment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
