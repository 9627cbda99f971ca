"""Keeps torch's optimizers from importing torch's compiler, which saves two seconds of every process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"


class _NoCompiler(ModuleType):
    """Has the two functions of the compiler that torch's optimizers call; any other attribute loads the compiler."""

    def graph_break(self, msg: str = "") -> None:
        """Do nothing: there is no graph to break."""

    def disable(self, fn: Callable[..., Any], recursive: bool = True, **_: Any) -> Callable[..., Any]:
        """Return the function itself: it is never compiled."""
        return fn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # `inspect` looks at every module but needs no compiler
            raise AttributeError(name)
        sys.modules.pop(COMPILER, None)
        vars(torch).pop("_dynamo", None)
        return getattr(importlib.import_module(COMPILER), name)


def skip_compiler() -> None:
    """Replace `torch._dynamo` by a stand-in, so that torch's optimizers do not import it.

    `torch.optim` marks its functions as "never compile" and breaks graphs around its steps. Neither has an effect in
    eager mode, but both import the whole compiler. Code that asks the stand-in for anything else gets the compiler.
    """
    if COMPILER not in sys.modules:
        stand_in = _NoCompiler(COMPILER)
        sys.modules[COMPILER] = stand_in
        vars(torch)["_dynamo"] = stand_in
