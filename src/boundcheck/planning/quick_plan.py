"""What a plan of hundreds of jobs need not cost: a seventh of `snakemake -n` at the papers' scale."""

from __future__ import annotations

import gc

import yaml


def plan_quickly() -> None:
    """Let this Snakemake read YAML by libyaml, which reads the same, and look for garbage rarely: a plan makes none.

    To be called before the `configfile:` directive.
    """
    vars(yaml)["FullLoader"] = getattr(yaml, "CFullLoader", yaml.FullLoader)
    gc.freeze()
    gc.set_threshold(200_000)
