"""Write envs/boundcheck.yaml, the conda environment of the rules, with the pins of envs/requirements.lock."""

import re
from pathlib import Path

ENVS = Path(__file__).parent


def conda_environment(lock: str) -> str:
    """The text of the conda file: Python from conda-forge, and the pins of the lock by pip (conda takes no hashes)."""
    pins = re.findall(r"^([a-z0-9._-]+==[^ \\]+)", lock, flags=re.MULTILINE)
    lines = ["# Written by envs/conda_from_lock.py from requirements.lock; for `snakemake --sdm conda`."]
    lines += [
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
    ]
    lines += [f"      - {pin}" for pin in pins]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    lock = (ENVS / "requirements.lock").read_text(encoding="utf-8")
    (ENVS / "boundcheck.yaml").write_text(conda_environment(lock), encoding="utf-8")
