"""The networks of several seeds under one optimizer: how they step, start again and stand still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples
from boundcheck.cells.networks import build_network, cell_objective
from boundcheck.contracts import Split
from boundcheck.models.stacking import stack
from boundcheck.training.layout import layout_for
from boundcheck.training.restarts import reset_slices, takes_slice_rates, unchanged_seeds


class Stack:
    """k networks of one architecture as one module; k = 1 for a model whose seeds train one after another.

    Args:
        cell: what is trained, and how.
        seeds: k of them.
        examples: of the cell, on the device of the training.
        keep_gradient: whether `gradient` will be called after every step.
        may_restart: whether `restart` may be called.

    Raises:
        ValueError: restarts in a stack whose optimizer takes no learning rate for each seed.
    """

    def __init__(
        self,
        cell: Cell,
        seeds: Sequence[int],
        examples: Examples,
        keep_gradient: bool = False,
        may_restart: bool = False,
    ) -> None:
        self.device = examples.device
        self.num_seeds, self.keep_gradient, self.may_restart = len(seeds), keep_gradient, may_restart
        self.objective, self.method = cell_objective(cell, examples), cell.method
        networks = [build_network(cell, examples.splits, seed) for seed in seeds]
        self.is_stacked = len(networks) > 1
        self.model = (stack(networks) if self.is_stacked else networks[0]).to(self.device, cell.dtype)
        input_shape = examples.splits.input_shape
        self.layout = layout_for(self.model, self.method, cell.training, input_shape, self.device)
        self.tensors = list(chain(self.model.parameters(), self.model.buffers()))
        self.start = [tensor.detach().clone() for tensor in self.tensors] if may_restart else []
        self.optimizer = self._new_optimizer()
        self.losses = torch.zeros(0)
        self.batch = torch.zeros(0), torch.zeros(0)
        self._gradients: list[Tensor] = []

    @property
    def num_parameters(self) -> int:
        """Of one network."""
        return sum(p.numel() for p in self.model.parameters()) // self.num_seeds

    def step(self, batch: Split, factors: Sequence[float], moves: Sequence[bool]) -> None:
        """One step of the optimizer.

        Args:
            batch: inputs (b, ...) or (k, b, ...), labels alike.
            factors: what the schedule multiplies each seed's learning rate by; equal unless seeds may restart.
            moves: whether each seed makes the step; the others keep their weights.
        """
        self._set_rates(factors)
        with self.layout.precision():
            inputs, targets = self.batch = self.layout.inputs(batch.inputs), self.objective.targets(batch)
        is_first = True

        def closure() -> Tensor:
            nonlocal is_first
            self.optimizer.zero_grad()
            with self.layout.precision():
                losses = self.objective.losses(self.model(inputs), targets)
            total = losses.sum()
            if not self.method.second_order:
                total.backward()
            if is_first:
                self.losses = losses.detach().reshape(-1)
                if self.keep_gradient:
                    self._keep_gradient(total)
                is_first = False
            return total

        with unchanged_seeds(self.tensors, [index for index, is_moving in enumerate(moves) if not is_moving]):
            self.optimizer.step(closure)  # type: ignore[arg-type]

    def gradient(self) -> Tensor:
        """Gradient (k, p) of the mini-batch loss at the parameters before the step."""
        return torch.cat([g.reshape(self.num_seeds, -1) for g in self._gradients], dim=1)

    @torch.no_grad()
    def restart(self, rates: Mapping[int, float]) -> None:
        """Put some seeds back to their start.

        Args:
            rates: the new learning rate of each of these seeds, by its index in the stack.
        """
        seed_indices = list(rates)
        for tensor, start in zip(self.tensors, self.start, strict=True):
            if self.is_stacked:
                tensor[seed_indices] = start[seed_indices]
            else:
                tensor.copy_(start)
        if self.is_stacked:
            reset_slices(self.optimizer, seed_indices, self.num_seeds)
        else:
            self.optimizer = self._new_optimizer()
        for group in self.optimizer.param_groups:
            if self.is_stacked:
                group["initial_lr"][seed_indices] = torch.tensor(list(rates.values()), dtype=torch.float64)
            else:
                group["initial_lr"] = rates[0]

    def _new_optimizer(self) -> Optimizer:
        optimizer = self.method.optimizer(self.model, num_stacked=self.num_seeds)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        if self.may_restart and self.is_stacked:
            if not takes_slice_rates(optimizer):
                kind = type(optimizer).__name__
                raise ValueError(f"seeds: got {self.num_seeds} at once; allowed: one, for {kind} has one learning rate")
            for group in optimizer.param_groups:
                group["initial_lr"] = torch.full((self.num_seeds,), group["lr"], dtype=torch.float64)
        return optimizer

    def _set_rates(self, factors: Sequence[float]) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["initial_lr"], Tensor):
                rates = group["initial_lr"] * torch.tensor(factors, dtype=torch.float64)  # (k,)
                group["lr"] = rates.to(group["params"][0])
            else:
                group["lr"] = group["initial_lr"] * factors[0]

    def _keep_gradient(self, total: Tensor) -> None:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if self.method.second_order:
            self._gradients = list(torch.autograd.grad(total, parameters, retain_graph=True))
        else:
            self._gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]

    def state_dict(self) -> dict[str, Any]:
        """The weights and the optimizer's state."""
        return {"model": dict(self.model.state_dict()), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
