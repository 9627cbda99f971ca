"""Start a job without torch's compiler, which any optimizer otherwise imports: two seconds of every process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"


class _NoCompiler(ModuleType):
    """Answers the two calls that torch's optimizers make of the compiler; anything else loads the real one."""

    def graph_break(self, msg: str = "") -> None:
        """Nothing: there is no graph to break."""

    def disable(self, fn: Callable[..., Any], recursive: bool = True, **_: Any) -> Callable[..., Any]:
        """The function itself: it is never compiled."""
        return fn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # what looks at every module (inspect) needs no compiler
            raise AttributeError(name)
        sys.modules.pop(COMPILER, None)
        vars(torch).pop("_dynamo", None)
        return getattr(importlib.import_module(COMPILER), name)


def skip_compiler() -> None:
    """Let torch's optimizers run in this process, which compiles nothing, without importing `torch._dynamo`.

    `torch.optim` marks its functions as "never compile" and breaks graphs around its steps; both do nothing in eager
    mode, and both import the whole compiler to do it. Whoever asks for more of the compiler gets the real one.
    """
    if COMPILER not in sys.modules:
        stand_in = _NoCompiler(COMPILER)
        sys.modules[COMPILER] = stand_in
        vars(torch)["_dynamo"] = stand_in
