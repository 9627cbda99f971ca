"""No default of a setting is typed a second time: what is downstream of a job reads resolved settings."""

import dataclasses
import re
from pathlib import Path

from boundcheck.callbacks import CALLBACKS
from boundcheck.data import DATASETS
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import VIEW_KEYS, load
from boundcheck.settings import TrainingSettings

SOURCE = Path(__file__).resolve().parents[2] / "src" / "boundcheck"
DOWNSTREAM = ("claims", "report", "analyses")
WITH_DEFAULT = re.compile(r"""\.get\(\s*["'](\w+)["']\s*,""")


def names_of_settings():
    kinds = [load(registry, kind) for registry in (METHODS, MODELS, DATASETS, CALLBACKS) for kind in registry]
    fields = [field.name for kind in (*kinds, TrainingSettings) for field in dataclasses.fields(kind) if field.init]
    return {*fields, *VIEW_KEYS, "kind", "num_gradients"}


def test_no_default_of_a_setting_is_typed_again():
    settings = names_of_settings()
    assert {"momentum", "activation", "train_size", "epochs"} <= settings
    offences = [
        f"{path.relative_to(SOURCE)}: {name}"
        for package in DOWNSTREAM
        for path in sorted((SOURCE / package).rglob("*.py"))
        for name in WITH_DEFAULT.findall(path.read_text(encoding="utf-8"))
        if name in settings
    ]
    assert offences == []
