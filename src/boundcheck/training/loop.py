"""The training loop: it knows seeds, batches and schedules, but no method, model or paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.callbacks.curve import Curve
from boundcheck.cells.cell import Floats
from boundcheck.contracts import Splits
from boundcheck.data.augment import Augment
from boundcheck.seeds import seed_for
from boundcheck.training.batches import Batches
from boundcheck.training.divergence import Divergence
from boundcheck.training.evaluation import evaluate
from boundcheck.training.networks import Networks
from boundcheck.training.recorders import Recorders
from boundcheck.training.restarts import asked_rates
from boundcheck.training.schedules import lr_factor
from boundcheck.training.snapshots import save_snapshot


class Loop:
    """Trains the seeds of one stack (k of them, k = 1 for a model that is trained alone).

    Everything that decides the result is in `state_dict`, so that a resumed run equals an uninterrupted one bit for
    bit on the same machine and threads. A seed that a callback restarts has all its epochs before it again, and ends as
    one that began with the new learning rate; the others of its stack do not notice.
    """

    def __init__(
        self, spec: Mapping[str, Any], seeds: Sequence[int], splits: Splits, floats: Floats, device: str
    ) -> None:
        self.training: Mapping[str, Any] = spec["training"]
        self.snapshots, self.seeds, self.splits, self.floats = spec["snapshots"], list(seeds), splits, floats
        self.recorders = Recorders(spec["record"])
        self.recorders.check(self.training)
        self.may_restart = self.recorders.may_restart
        self.networks = Networks(spec, seeds, splits, device, self.recorders.need_gradient, self.may_restart)
        self.model, self.objective = self.networks.model, self.networks.objective
        names = spec["dataset"]["name"], spec["model"]["name"]
        augment = Augment(**self.training["augment"])
        self.batches = Batches(splits.train, floats, augment, self.training["batch_size"], names, seeds)
        torch.manual_seed(seed_for("noise", *names, self.seeds[0]) % 2**63)
        self.curve, self.divergence = Curve(self.seeds), Divergence(len(self.seeds), self.training["max_loss"])
        self.step, self.num_steps = 0, self.training["epochs"] * self.batches.num_batches
        self.wall_seconds = self.cpu_seconds = 0.0

    @property
    def optimizer(self) -> Optimizer:
        """Of all parameters; another one after a restart."""
        return self.networks.optimizer

    @property
    def losses(self) -> Tensor:
        """Mini-batch losses (k,) of the step's first pass."""
        return self.networks.losses

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the step, as the network has them."""
        return self.networks.batch

    @property
    def epoch(self) -> float:
        """Epochs done by the stack, with the fraction of the current one."""
        return self.step / self.batches.num_batches

    @property
    def own_steps(self) -> list[int]:
        """Steps since each seed's last start; they go on growing when it has done what it has to do."""
        return [self.step - first for first in self.curve.first_steps]

    @property
    def steps_since_restart(self) -> Tensor:
        """Steps (k,) int64 of each seed since its last start, at most what it has to do."""
        return torch.tensor(self.own_steps).clamp(max=self.num_steps)

    @property
    def epochs_done(self) -> float:
        """Epochs that every seed has done since its last start."""
        return int(self.steps_since_restart.min()) / self.batches.num_batches

    @property
    def finished(self) -> bool:
        """Every seed has done its epochs, or diverged."""
        ends = zip(self.own_steps, self.divergence.steps, strict=True)
        return all(own >= self.num_steps or diverged is not None for own, diverged in ends)

    def gradient(self) -> Tensor:
        """Gradient (k, p) of the mini-batch loss at the parameters before the step."""
        return self.networks.gradient()

    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """Loss and accuracy (k,) over a whole split, in evaluation mode."""
        return evaluate(self.model, self.objective, getattr(self.splits, split), self.floats, self.networks.layout)

    def make_step(self) -> None:
        """One step of the stack: networks, then callbacks, then the restarts that these ask for."""
        own_steps = self.own_steps
        moves = tuple(own < self.num_steps for own in own_steps)
        factors = [lr_factor(self.training, own, self.batches.num_batches) for own in own_steps]
        self.networks.step(self.batches.at(self.step), factors, moves)
        self.divergence.watch(self.losses)
        self.curve.counts = moves
        if asked := self.recorders.on_step(self):
            self._restart(asked_rates(asked, len(self.seeds)))
        self.step += 1

    def _restart(self, asked: Mapping[int, float]) -> None:
        runs = [moves and step is None for moves, step in zip(self.curve.counts, self.divergence.steps, strict=True)]
        rates = {place: rate for place, rate in asked.items() if runs[place]}
        if rates:
            self.networks.restart(rates)
        for place, rate in rates.items():
            self.curve.restart(place, self.step, rate)
            self.divergence.forget(place)

    def test_divergence(self) -> None:
        """Look at the losses of the last steps, and bring the curve to the CPU; waits for the device."""
        self.divergence.test(self.step, self.curve.first_steps)
        self.curve.flush()

    def end_of_epoch(self, folder: Path) -> None:
        """Let the seeds be evaluated, and saved, whose own epoch asks for it."""
        every, last = self.training["evaluate_every"], self.training["epochs"]
        epochs = [-1 if own > self.num_steps else own // self.batches.num_batches for own in self.own_steps]
        self.curve.counts = tuple(epoch >= 0 and (epoch % every == 0 or epoch == last) for epoch in epochs)
        if any(self.curve.counts):
            self.recorders.on_epoch(self)
        for place, epoch in enumerate(epochs if self.may_restart else epochs[:1]):
            if epoch in self.snapshots:
                file = self.snapshot_files(folder, epoch)[place]
                save_snapshot(self.model, self.networks.stacked, file, place if self.may_restart else None)

    def snapshot_files(self, folder: Path, epoch: int) -> list[Path]:
        """The files in `folder` that hold the seeds after an epoch: one of all, or one of each since its last start."""
        if not self.may_restart:
            return [folder / f"epoch_{epoch}.safetensors"]
        starts = [f"seed_{seed}_start_{self.curve.num_restarts(place)}" for place, seed in enumerate(self.seeds)]
        return [folder / f"epoch_{epoch}_{start}.safetensors" for start in starts]

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the run goes on, and what it has recorded."""
        return {
            "networks": self.networks.state_dict(),
            "batches": self.batches.state_dict(),
            "recorders": self.recorders.state_dict(),
            "noise": torch.get_rng_state(),
            "device_noise": torch.cuda.get_rng_state() if self.networks.device.type == "cuda" else None,
            "curve": self.curve.state_dict(),
            "divergence": self.divergence.state_dict(),
            "step": self.step,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for part in ("networks", "batches", "recorders", "curve", "divergence"):
            getattr(self, part).load_state_dict(state[part])
        torch.set_rng_state(state["noise"])
        if state["device_noise"] is not None:
            torch.cuda.set_rng_state(state["device_noise"])
        for name in ("step", "wall_seconds", "cpu_seconds"):
            setattr(self, name, state[name])
