"""Memory and disk that run out while a cell is trained: what is said, and what is left."""

import contextlib
import errno
import resource

import pytest
import torch
from safetensors import SafetensorError

from boundcheck.cells.cell import CellNames
from boundcheck.cells.resource_errors import explained_resource_errors
from boundcheck.jobs.command_line import main
from boundcheck.training import checkpoint
from boundcheck.training.loop import Loop
from boundcheck.training.train import train

NAMES = CellNames("digits", "mlp", "sgd")
FILES = ["curves.parquet", "snapshots/epoch_0.safetensors", "snapshots/epoch_3.safetensors"]
ON_THE_CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
SHORTAGES = {
    "torch on the CPU": RuntimeError(ON_THE_CPU),
    "torch on the CPU, older": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    "torch on a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "a library on a GPU": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "Python": MemoryError(),
}


@pytest.mark.parametrize("error", SHORTAGES.values(), ids=SHORTAGES)
def test_out_of_memory_names_the_cell_and_what_to_lower(error):
    expected = r"digits/mlp/sgd: out of memory \(.+\); lower training\.batch_size"
    with pytest.raises(MemoryError, match=expected), explained_resource_errors(NAMES, "training.batch_size"):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("x"), OSError(errno.EACCES, "denied")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, explained_resource_errors(NAMES, "training.batch_size"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "curves.parquet"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_explained(error):
    with pytest.raises(OSError, match=r"digits/mlp/sgd: .*free space and run the same command") as raised:  # noqa: SIM117
        with explained_resource_errors(NAMES, "training.batch_size"):
            raise error
    assert raised.value.errno in (errno.ENOSPC, errno.EDQUOT)


def test_a_training_that_does_not_fit_ends_in_words(spec_of, spec_file, arrays, tmp_path, monkeypatch, capsys):
    """A real allocation that cannot be had, in the middle of the training."""
    monkeypatch.setattr(Loop, "test_divergence", lambda loop: torch.zeros(1 << 60, dtype=torch.uint8))
    words = ["train", "--spec", spec_file(spec_of()), "--data", str(arrays), "--output", str(tmp_path / "out")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("boundcheck train: MemoryError: digits/mlp/sgd: out of memory (")
    assert said.endswith("lower training.batch_size or seeds_per_job\n")
    assert not (tmp_path / "out/provenance.json").exists()


@contextlib.contextmanager
def full_disk(num_bytes):
    """No file of this process can grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("checkpoints", [None, 0, 4, -1])
def test_a_full_disk_leaves_nothing_half_written(spec_of, arrays, tmp_path, capsys, monkeypatch, checkpoints):
    """Full at the first snapshot (None), the first checkpoint, a later one, the last; the next run completes it."""
    sizes, save = [], checkpoint.save

    def weighed(path, *arguments):
        save(path, *arguments)
        sizes.append(path.stat().st_size)

    monkeypatch.setattr(checkpoint, "save", weighed)
    train(spec_of(), arrays, tmp_path / "whole", checkpoint_seconds=0)
    monkeypatch.undo()
    room = (
        100 if checkpoints is None else sizes[checkpoints] - 70
    )  # they grow by 140; times take some digits more or less
    cut = tmp_path / "cut"
    with full_disk(room), pytest.raises(OSError, match="free space and run the same command"):
        train(spec_of(), arrays, cut, checkpoint_seconds=0)
    assert not {"curves.parquet", "snapshots", "provenance.json"} & {path.name for path in cut.glob("*")}
    capsys.readouterr()
    train(spec_of(), arrays, cut, checkpoint_seconds=0)
    assert ("resumed at epoch" in capsys.readouterr().out) is bool(checkpoints)
    assert contents(cut) == contents(tmp_path / "whole")
    assert {path.name for path in cut.iterdir()} == {"curves.parquet", "snapshots", "provenance.json"}
