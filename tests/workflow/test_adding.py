"""A method is added by one file, one registry line and one config line; nothing else reruns."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("finished")  # one worker, one finished run

TOY = '''"""Gradient descent by the sign of the gradient."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn


class SignDescent(torch.optim.Optimizer):
    """theta <- theta - lr sign(gradient)."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= group["lr"] * parameter.grad.sign()
        return loss


@dataclass(frozen=True)
class SignDescentMethod:
    """A variant of sign descent.

    Args:
        lr: step size.
    """

    lr: float
    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        return SignDescent(model.parameters(), self.lr)
'''


def add(project):
    """One file, one registry line, one config line."""
    (project.folder / "src/boundcheck/methods/sign_descent.py").write_text(TOY)
    project.edit(
        "src/boundcheck/methods/__init__.py",
        "METHODS: dict[str, str] = {\n",
        'METHODS: dict[str, str] = {\n    "sign_descent": "boundcheck.methods.sign_descent:SignDescentMethod",\n',
    )
    project.edit("config/studies/gam.yaml", "methods:\n", "methods:\n  sign: {kind: sign_descent, lr: 0.01}\n")


def test_a_toy_method(finished, tmp_path):
    project = finished.copied(tmp_path)
    add(project)
    assert project.planned() == {}, "a new file, registry line and variant rerun nothing"
    project.config["studies"]["gam"]["grid"][0]["methods"].append("sign")
    project.write_config("config/small.yaml", project.config)
    planned = project.planned()
    planned.pop("all")
    assert planned == {"train_batch": 1, "measure_batch": 1, "check_study": 1, "report": 1}
    folder = "results/small/gam/tiny_digits/tiny_mlp/sign/seeds_0-2"
    project.snakemake(f"{folder}/curves.parquet")
    assert (project.folder / folder / "provenance.json").exists()


def test_the_contract_tests_know_it_by_its_lines(finished, tmp_path):
    """Nothing in tests/ names it: listed is tested."""
    project = finished.copied(tmp_path)
    add(project)
    project.edit("config/test.yaml", "methods: [sgd, gam_exact,", "methods: [sign, sgd, gam_exact,")
    (tmp_path / "tests/training").mkdir(parents=True)
    for name in ("conftest.py", "training/test_listed_kinds.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    found = project.run(
        "pytest", "tests/training/test_listed_kinds.py", "-k", "sign_descent or every_kind", "-p", "no:xdist"
    )
    assert "4 passed" in found
