"""A training that can stop and resume: its checkpoints, its log, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from boundcheck.training import checkpoint
from boundcheck.training.loop import Loop
from boundcheck.training.stopping import TrainingInterrupted

FLUSH_EVERY = 64  # steps between divergence tests, each of which waits for the device
Progress = Callable[[float, int, float | None], None]  # is told the epoch, the last epoch and the seconds left


class Stopwatch:
    """Wall and CPU time of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """Seconds since the last lap."""
        return time.perf_counter() - self._wall

    def lap(self) -> tuple[float, float]:
        """Wall and CPU seconds since the last lap, which ends here."""
        wall, cpu = self.wall, time.process_time() - self._cpu
        self._wall, self._cpu = self._wall + wall, self._cpu + cpu
        return wall, cpu


def run(
    loop: Loop,
    folder: Path,
    identity: Mapping[str, str],
    should_stop: Callable[[], bool],
    every_seconds: float,
    loops_after: int = 0,
    tell_progress: Progress = lambda epoch, epochs, seconds_left: None,
) -> None:
    """Train to the end, from the beginning or from the checkpoint in `folder`.

    Args:
        loop: a training that has made no step yet.
        folder: where its snapshots and its checkpoint go.
        identity: of the job; a checkpoint of another job is not resumed.
        should_stop: called after every step.
        every_seconds: time between checkpoints, seconds.
        loops_after: how many trainings of the same length follow, for the estimate of the time left.
        tell_progress: called at the beginning and after epochs; the seconds left are None at the beginning.

    Raises:
        TrainingInterrupted: `should_stop` returned True. The checkpoint is written.
    """
    path = folder / "state.safetensors"
    _begin(loop, path, identity)
    tell_progress(loop.epochs_done, loop.training.epochs, None)
    first_step, since_start, watch = loop.step, Stopwatch(), Stopwatch()
    while not loop.finished:
        loop.make_step()
        at_end = loop.step % loop.batches.num_batches == 0
        if at_end or loop.step % FLUSH_EVERY == 0:
            loop.test_divergence()
        if at_end:
            if should_stop():  # an evaluation may take longer than whoever asks will wait
                _save(loop, path, identity, watch, before_evaluation=True)
                raise TrainingInterrupted(_stopped(loop))
            _end_epoch(loop, folder)
            _report(loop, (loop.step - first_step) / since_start.wall, loops_after, tell_progress)
        stop = should_stop()
        if stop or loop.finished or watch.wall > every_seconds:
            _save(loop, path, identity, watch)
            if stop and not loop.finished:
                raise TrainingInterrupted(_stopped(loop))


def _stopped(loop: Loop) -> str:
    return f"stopped at epoch {loop.epochs_done:.2f}; the same command resumes"


def _begin(loop: Loop, path: Path, identity: Mapping[str, str]) -> None:
    state = checkpoint.load_or_set_aside(path, identity)
    if state is None:
        for snapshot in path.parent.glob("epoch_*.safetensors"):  # of a job that is not resumed
            snapshot.unlink()
        loop.end_of_epoch(path.parent)
    else:
        loop.load_state_dict(state)
        print(f"resumed at epoch {loop.epochs_done:.2f} (step {loop.step})", flush=True)
        if state["before_evaluation"]:
            _end_epoch(loop, path.parent)
    loop.model.train()


def _end_epoch(loop: Loop, folder: Path) -> None:
    loop.end_of_epoch(folder)
    loop.curve.flush()


def _save(
    loop: Loop, path: Path, identity: Mapping[str, str], watch: Stopwatch, before_evaluation: bool = False
) -> None:
    loop.test_divergence()
    wall, cpu = watch.lap()
    loop.wall_seconds += wall
    loop.cpu_seconds += cpu
    checkpoint.save(path, {**loop.state_dict(), "before_evaluation": before_evaluation}, identity)


def _report(loop: Loop, steps_per_second: float, loops_after: int, tell_progress: Progress) -> None:
    epochs, epoch = loop.training.epochs, round(loop.epochs_done)
    if epoch % max(epochs // 200, 1) == 0:
        images = steps_per_second * loop.batches.size * len(loop.seeds)
        left = (epochs * (1 + loops_after) - epoch) * loop.batches.num_batches / steps_per_second
        tell_progress(loop.epochs_done, epochs, left)
        latest = loop.curve.latest("train_loss", "test_accuracy")
        print(f"epoch {epoch}/{epochs}  {latest}  {images:.0f} images/s  {left:.0f} s left", flush=True)
