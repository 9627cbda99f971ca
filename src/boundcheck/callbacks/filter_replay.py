"""Feeds the gradients of a latent training to gradient filters, and counts the bits that each filter gets wrong."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from boundcheck.contracts import Training
from boundcheck.methods.mapped_filter import MAPPINGS, OtherMapping, mapped_filter
from boundcheck.models.binary_layers import binary_parameters, sign
from boundcheck.settings import settings


@settings(frozen=False)
class FilterReplay:
    """Runs filters in open loop: each filter gets the gradients of the latent training, not those of its own bits.

    At every evaluation it records `bits_wrong`: the share of bits that differ from the signs of the latent weights,
    averaged over the steps since the last evaluation; index i is `MAPPINGS[i]`. In open loop, all mappings are compared
    on one sequence of gradients. In closed loop, the first wrong bit would change all later gradients.

    Args:
        mappings: the mappings to compare, from `MAPPINGS`; for torch's SGD with momentum and weight decay.
    """

    mappings: Sequence[OtherMapping] = MAPPINGS
    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "bits_wrong"
    _filters: dict[OtherMapping, Optimizer] = field(default_factory=dict, init=False, repr=False)
    _wrong: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)
    _waiting: dict[str, Any] | None = field(default=None, init=False, repr=False)

    def on_step(self, training: Training) -> None:
        """Feed this step's gradients to every filter and count its wrong bits."""
        latent = binary_parameters(training.model)
        k, lr = len(training.curve.seeds), training.optimizer.param_groups[0]["lr"]
        first_lr = training.optimizer.param_groups[0]["initial_lr"]
        wanted = [sign(p.detach()) for p in latent]
        self._prepare(training)
        for name, replayed in self._filters.items():
            for group in replayed.param_groups:
                group["lr"] = group["initial_lr"] * lr / first_lr
                for mine, theirs in zip(group["params"], latent, strict=True):
                    mine.grad = theirs.grad
            replayed.step()
            replayed_bits = [p for group in replayed.param_groups for p in group["params"]]
            wrong = [(a != b).view(k, -1) for a, b in zip(replayed_bits, wanted, strict=True)]
            self._wrong[name] = self._wrong.get(name, 0.0) + torch.cat(wrong, 1).double().mean(1)
        self._count += 1

    def on_epoch(self, training: Training) -> None:
        """Build the filters at the start; record the means of the epoch."""
        if training.step == 0:
            self._prepare(training)
        for name, wrong in self._wrong.items():
            share = wrong / self._count
            training.curve.record("bits_wrong", training.step, training.epoch, share, MAPPINGS.index(name))
        self._wrong, self._count = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """The filters' bits and states, and the counts since the last evaluation."""
        filters = {
            name: {"optimizer": f.state_dict(), "bits": [p.detach() for g in f.param_groups for p in g["params"]]}
            for name, f in self._filters.items()
        }
        return {"filters": filters, "wrong": dict(self._wrong), "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint. The filters are restored at the next step, when the training is known."""
        self._waiting = state
        self._wrong, self._count = dict(state["wrong"]), state["count"]

    @torch.no_grad()
    def _prepare(self, training: Training) -> None:
        if not self._filters:
            latent = training.optimizer.method  # type: ignore[attr-defined]
            for name in self.mappings:
                copies = [nn.Parameter(p.detach().clone()) for p in binary_parameters(training.model)]
                self._filters[name] = mapped_filter(latent, copies, name)
                for group in self._filters[name].param_groups:
                    group["initial_lr"] = group["lr"]
        if self._waiting is not None:
            for name, saved in self._waiting["filters"].items():
                self._filters[name].load_state_dict(copy.deepcopy(saved["optimizer"]))
                filtered = [p for group in self._filters[name].param_groups for p in group["params"]]
                for p, bits in zip(filtered, saved["bits"], strict=True):
                    p.copy_(bits)
            self._waiting = None
