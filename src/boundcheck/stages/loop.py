"""The training loop: it knows seeds, batches and schedules, but no method, model or paper."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from boundcheck.callbacks import CALLBACKS
from boundcheck.callbacks.curve import Curve
from boundcheck.contracts import Split, Splits
from boundcheck.data.augment import Augment
from boundcheck.models.stacking import stack
from boundcheck.objectives import accuracy, build_objective
from boundcheck.registry import load
from boundcheck.seeds import seed_for
from boundcheck.stages import checkpoint
from boundcheck.stages.batches import Batches
from boundcheck.stages.cell import PRECISIONS, Floats, build_method, build_network, save_snapshot
from boundcheck.stages.progress import write_progress
from boundcheck.stages.schedules import lr_factor

FLUSH_EVERY = 64  # steps between divergence tests, each of which waits for the device
EVALUATION_BATCH = 1000


class TrainingInterrupted(Exception):
    """The job was asked to stop; its state is on disk."""


class Loop:
    """Trains the seeds of one stack (k of them, k = 1 for a model that is trained alone).

    Everything that decides the result is in `state_dict`, so that a resumed run equals an uninterrupted one bit for
    bit on the same machine and threads.
    """

    def __init__(
        self, spec: Mapping[str, Any], seeds: Sequence[int], splits: Splits, floats: Floats, device: str
    ) -> None:
        self.training: Mapping[str, Any] = spec["training"]
        self.snapshots, self.seeds, self.splits, self.floats = spec["snapshots"], list(seeds), splits, floats
        self.device = torch.device(device)
        self.objective = build_objective(self.training)
        self.method = build_method(spec)
        nets = [build_network(spec, splits, seed) for seed in seeds]
        self.stacked = len(nets) > 1
        self.model = (stack(nets) if self.stacked else nets[0]).to(device, PRECISIONS[self.training["precision"]])
        self.channels_last = self._wants_channels_last()
        if self.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = self.method.optimizer(self.model, num_stacked=len(nets))
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.callbacks = [load(CALLBACKS, name)() for name in spec["record"]]
        self.needs_gradient = any(callback.needs_gradient for callback in self.callbacks)
        names = spec["dataset"]["name"], spec["model"]["name"]
        augment = Augment(**self.training["augment"])
        self.batches = Batches(splits.train, floats, augment, self.training["batch_size"], names, seeds)
        torch.manual_seed(seed_for("noise", *names, self.seeds[0]) % 2**63)
        self.curve = Curve(self.seeds)
        self.step = 0
        self.diverged: list[int | None] = [None] * len(self.seeds)
        self.reasons = [""] * len(self.seeds)
        self.wall_seconds = self.cpu_seconds = 0.0
        self.losses = torch.zeros(0)
        self._recent: list[Tensor] = []
        self._gradients: list[Tensor] = []

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the current one."""
        return self.step / self.batches.num_batches

    @property
    def finished(self) -> bool:
        """All epochs done, or every seed diverged."""
        return self.epoch >= self.training["epochs"] or all(step is not None for step in self.diverged)

    def run(self, folder: Path, identity: str, should_stop: Callable[[], bool], every_seconds: float) -> None:
        """Train to the end; snapshots and the state go to `folder`.

        Raises:
            TrainingInterrupted: `should_stop` said so; the state was written first.
        """
        path = folder / "state.safetensors"
        state = checkpoint.load_or_set_aside(path, identity)
        if state is None:
            self._end_of_epoch(folder)
        else:
            self.load_state_dict(state)
            print(f"resumed at epoch {self.epoch:.2f} (step {self.step})", flush=True)
        write_progress(folder.parent, self.epoch, self.training["epochs"], None)
        self.model.train()
        first_step, start = self.step, time.perf_counter()
        wall, cpu = start, time.process_time()
        while not self.finished:
            self._step()
            at_end = self.step % self.batches.num_batches == 0
            if at_end or self.step % FLUSH_EVERY == 0:
                self._test_divergence()
            if at_end:
                self._end_of_epoch(folder)
                self.curve.flush()
                self._report((self.step - first_step) / (time.perf_counter() - start), folder.parent)
            stop = should_stop()
            if stop or self.finished or time.perf_counter() - wall > every_seconds:
                self._test_divergence()
                self.wall_seconds += time.perf_counter() - wall
                self.cpu_seconds += time.process_time() - cpu
                wall, cpu = time.perf_counter(), time.process_time()
                checkpoint.save(path, self.state_dict(), identity)
                if stop and not self.finished:
                    raise TrainingInterrupted(f"stopped at epoch {self.epoch:.2f}; the same command resumes")

    def _step(self) -> None:
        batch = self.batches.at(self.step)
        inputs, targets = self._layout(batch.inputs), self.objective.targets(batch)
        factor = lr_factor(self.training, self.step, self.batches.num_batches)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        is_first = True

        def closure() -> Tensor:
            nonlocal is_first
            self.optimizer.zero_grad()
            with self._autocast():
                losses = self.objective.losses(self.model(inputs), targets)
            total = losses.sum()
            if not self.method.second_order:
                total.backward()
            if is_first:
                self.losses = losses.detach().reshape(-1)
                if self.needs_gradient:
                    self._keep_gradient(total)
                is_first = False
            return total

        self.optimizer.step(closure)  # type: ignore[arg-type]
        self._recent.append(self.losses)
        for callback in self.callbacks:
            callback.on_step(self)
        self.step += 1

    def _keep_gradient(self, total: Tensor) -> None:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if self.method.second_order:
            self._gradients = list(torch.autograd.grad(total, parameters, retain_graph=True))
        else:
            self._gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]

    def gradient(self) -> Tensor:
        """Gradient (k, p) of the mini-batch loss at the parameters before the step."""
        return torch.cat([g.reshape(len(self.seeds), -1) for g in self._gradients], dim=1)

    @torch.no_grad()
    def evaluate(self, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """Loss and accuracy (k,) over a whole split, in evaluation mode."""
        examples: Split = getattr(self.splits, split)
        n = len(examples.labels)
        self.model.eval()
        loss = hits = torch.zeros((), dtype=torch.float64, device=self.device)
        for start in range(0, n, EVALUATION_BATCH):
            labels = examples.labels[start : start + EVALUATION_BATCH]
            batch = Split(self.floats(examples.inputs[start : start + EVALUATION_BATCH]), labels)
            with self._autocast():
                outputs = self.model(self._layout(batch.inputs))
                losses = self.objective.losses(outputs, self.objective.targets(batch))
            loss = loss + losses.double() * len(labels)
            hits = hits + accuracy(outputs, labels) * len(labels)
        self.model.train()
        return (loss / n).reshape(-1), (hits / n).reshape(-1)

    def _end_of_epoch(self, folder: Path) -> None:
        epoch = self.step // self.batches.num_batches
        if epoch % self.training["evaluate_every"] == 0 or self.finished:
            for callback in self.callbacks:
                callback.on_epoch(self)
        if epoch in self.snapshots:
            save_snapshot(self.model, self.stacked, folder / f"epoch_{epoch}.safetensors")

    def _test_divergence(self) -> None:
        if self._recent:
            losses = torch.stack(self._recent).double().cpu()  # (m, k)
            bad = ~(losses.abs() <= self.training["max_loss"])  # true for NaN too
            for i in range(len(self.seeds)):
                if self.diverged[i] is None and bool(bad[:, i].any()):
                    row = int(bad[:, i].int().argmax())
                    step = self.step - len(self._recent) + row
                    self.diverged[i] = step
                    self.reasons[i] = f"training loss {losses[row, i].item():.4g} at step {step}"
            self._recent.clear()
        self.curve.flush()

    def _report(self, steps_per_second: float, folder: Path) -> None:
        epochs, epoch = self.training["epochs"], round(self.epoch)
        if epoch % max(epochs // 200, 1) == 0:
            images = steps_per_second * self.batches.size * len(self.seeds)
            left = (epochs - epoch) * self.batches.num_batches / steps_per_second
            write_progress(folder, self.epoch, epochs, left)
            latest = self.curve.latest("train_loss", "test_accuracy")
            print(f"epoch {epoch}/{epochs}  {latest}  {images:.0f} images/s  {left:.0f} s left", flush=True)

    def _layout(self, inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=torch.channels_last) if self.channels_last else inputs

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.training["precision"] == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _wants_channels_last(self) -> bool:
        """Faster for first-order steps of convolutions on 28 pixels and more, slower for Hessian-vector products."""
        wanted = self.training["channels_last"]
        shape = self.splits.input_shape
        has_convolution = any(isinstance(module, nn.Conv2d) for module in self.model.modules())
        possible = has_convolution and len(shape) == 3
        return possible and (not self.method.second_order and min(shape[1:]) >= 28 if wanted == "auto" else wanted)

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the run goes on, and what it has recorded."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "noise": torch.get_rng_state(),
            "device_noise": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "curve": self.curve.state_dict(),
            "step": self.step,
            "diverged": self.diverged,
            "reasons": self.reasons,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.curve.load_state_dict(state["curve"])
        torch.set_rng_state(state["noise"])
        if state["device_noise"] is not None:
            torch.cuda.set_rng_state(state["device_noise"])
        for name in ("step", "diverged", "reasons", "wall_seconds", "cpu_seconds"):
            setattr(self, name, state[name])
