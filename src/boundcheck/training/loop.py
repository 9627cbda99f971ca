"""A training: its steps, ends of epochs and restarts. It knows no method, model or paper.

`resumable.run` makes the steps until it is finished; `stack.Stack.step` computes the loss and its gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.callbacks.curve import Curve
from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples
from boundcheck.seeds import seed_for
from boundcheck.training.batches import Batches
from boundcheck.training.divergence import Divergence
from boundcheck.training.evaluation import evaluate
from boundcheck.training.recorders import Recorders
from boundcheck.training.restarts import requested_rates
from boundcheck.training.schedules import lr_factor
from boundcheck.training.snapshots import save_snapshot
from boundcheck.training.stack import Stack


class Loop:
    """Trains the seeds of one stack: k of them, k = 1 for a model whose seeds train one after another.

    Everything that decides the result is in `state_dict`. So a resumed run equals an uninterrupted one bit for bit, on
    the same machine with the same threads. A seed that a callback restarts trains for all its epochs again, and ends
    like a run that began with the new learning rate. The other seeds of its stack are not affected.

    Args:
        cell: what is trained, and how.
        seeds: k of the cell's seeds.
        examples: of the cell.
    """

    def __init__(self, cell: Cell, seeds: Sequence[int], examples: Examples) -> None:
        self.training, self.snapshots = cell.training, cell.snapshots
        self.seeds, self.examples = list(seeds), examples
        self.recorders = Recorders(cell.new_callbacks())
        self.recorders.check(self.training)
        self.may_restart = self.recorders.may_restart
        self.stack = Stack(cell, seeds, examples, self.recorders.need_gradient, self.may_restart)
        self.model, self.objective = self.stack.model, self.stack.objective
        self.batches = Batches(cell, examples, seeds)
        torch.manual_seed(seed_for("noise", cell.names.dataset, cell.names.model, self.seeds[0]) % 2**63)
        self.curve, self.divergence = Curve(self.seeds), Divergence(len(self.seeds), self.training.max_loss)
        self.step, self.num_steps = 0, self.training.epochs * self.batches.num_batches
        self.wall_seconds = self.cpu_seconds = 0.0
        self.snapshot_digests: dict[str, str] = {}  # the sha256 of the snapshot files so far, by name

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of all parameters; after a restart it may be a new one."""
        return self.stack.optimizer

    @property
    def losses(self) -> Tensor:
        """Mini-batch losses (k,) of the step's first pass."""
        return self.stack.losses

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """The inputs and targets of the step, as the network gets them."""
        return self.stack.batch

    @property
    def epoch(self) -> float:
        """Epochs that the stack has done, with the fraction of the current one."""
        return self.step / self.batches.num_batches

    @property
    def own_steps(self) -> list[int]:
        """Steps of the stack since each seed's last start, also those after the seed has finished."""
        return [self.step - first for first in self.curve.first_steps]

    @property
    def steps_since_restart(self) -> Tensor:
        """Steps (k,) int64 that each seed has made since its last start."""
        return torch.tensor(self.own_steps).clamp(max=self.num_steps)

    @property
    def epochs_done(self) -> float:
        """Epochs that every seed has done since its last start."""
        return int(self.steps_since_restart.min()) / self.batches.num_batches

    @property
    def finished(self) -> bool:
        """Whether every seed has done its epochs or diverged."""
        ends = zip(self.own_steps, self.divergence.steps, strict=True)
        return all(own >= self.num_steps or diverged is not None for own, diverged in ends)

    def gradient(self) -> Tensor:
        """Gradient (k, p) of the mini-batch loss at the parameters before the step."""
        return self.stack.gradient()

    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """Loss and accuracy (k,) over a whole split, in evaluation mode."""
        examples = self.examples.splits.train if split == "train" else self.examples.splits.test
        return evaluate(self.model, self.objective, examples, self.examples.network_inputs, self.stack.layout)

    def make_step(self) -> None:
        """Make one step of the stack: the networks, the callbacks, and the restarts that the callbacks ask for."""
        own_steps = self.own_steps
        moves = tuple(own < self.num_steps for own in own_steps)
        factors = [lr_factor(self.training, own, self.batches.num_batches) for own in own_steps]
        self.stack.step(self.batches.at(self.step), factors, moves)
        self.divergence.watch(self.losses)
        self.curve.is_recorded = moves
        if requests := self.recorders.on_step(self):
            self._restart(requested_rates(requests, len(self.seeds)), moves)
        self.step += 1

    def _restart(self, requested: Mapping[int, float], moves: Sequence[bool]) -> None:
        is_running = [moving and step is None for moving, step in zip(moves, self.divergence.steps, strict=True)]
        rates = {seed_index: rate for seed_index, rate in requested.items() if is_running[seed_index]}
        if rates:
            self.stack.restart(rates)
        for seed_index, rate in rates.items():
            self.curve.restart(seed_index, self.step, rate)
            self.divergence.restart(seed_index)

    def test_divergence(self) -> None:
        """Look at the losses of the last steps and bring the curve to the CPU. Waits for the device."""
        self.divergence.test(self.step, self.curve.first_steps)
        self.curve.flush()

    def end_of_epoch(self, folder: Path) -> None:
        """Evaluate and save the seeds for which this is due after their own number of epochs."""
        every, last = self.training.evaluate_every, self.training.epochs
        epochs = [-1 if own > self.num_steps else own // self.batches.num_batches for own in self.own_steps]
        self.curve.is_recorded = tuple(epoch >= 0 and (epoch % every == 0 or epoch == last) for epoch in epochs)
        if any(self.curve.is_recorded):
            self.recorders.on_epoch(self)
        for seed_index, epoch in enumerate(epochs if self.may_restart else epochs[:1]):
            if epoch in self.snapshots:
                file = self.snapshot_files(folder, epoch)[seed_index]
                index = seed_index if self.may_restart else None
                self.snapshot_digests[file.name] = save_snapshot(self.model, self.stack.is_stacked, file, index)

    def snapshot_files(self, folder: Path, epoch: int) -> list[Path]:
        """The snapshot files of an epoch: one of all seeds, or where they may restart one for each start of a seed."""
        if not self.may_restart:
            return [folder / f"epoch_{epoch}.safetensors"]
        starts = [f"seed_{seed}_start_{self.curve.num_restarts(index)}" for index, seed in enumerate(self.seeds)]
        return [folder / f"epoch_{epoch}_{start}.safetensors" for start in starts]

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the training goes on, and what it has recorded."""
        return {
            "stack": self.stack.state_dict(),
            "batches": self.batches.state_dict(),
            "recorders": self.recorders.state_dict(),
            "noise": torch.get_rng_state(),
            "device_noise": torch.cuda.get_rng_state() if self.stack.device.type == "cuda" else None,
            "curve": self.curve.state_dict(),
            "divergence": self.divergence.state_dict(),
            "step": self.step,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "snapshot_digests": self.snapshot_digests,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for part in ("stack", "batches", "recorders", "curve", "divergence"):
            getattr(self, part).load_state_dict(state[part])
        torch.set_rng_state(state["noise"])
        if state["device_noise"] is not None:
            torch.cuda.set_rng_state(state["device_noise"])
        for name in ("step", "wall_seconds", "cpu_seconds", "snapshot_digests"):
            setattr(self, name, state[name])
