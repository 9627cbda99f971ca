from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from boundcheck.data.arrays import FILE_NAME, new_arrays, read_arrays, write_arrays
from boundcheck.data.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 3, 4, 5), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 9)
NAMES = ["ä", "b", "c"]


@pytest.fixture
def root(tmp_path):
    write_arrays(tmp_path, (IMAGES[:6], LABELS[:6]), (IMAGES[6:], LABELS[6:]), NAMES, "a test")
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(root):
    splits = read_arrays(root)
    assert np.array_equal(splits.train.inputs, IMAGES[:6])
    assert np.array_equal(splits.train.labels, LABELS[:6])
    assert np.array_equal(splits.test.inputs, IMAGES[6:])
    assert np.array_equal(splits.test.labels, LABELS[6:])
    assert splits.train.inputs.dtype == torch.uint8
    assert splits.train.labels.dtype == torch.int64
    assert (splits.input_shape, splits.num_classes) == ((3, 4, 5), 3)
    scaled = IMAGES[:6].astype(np.float64) / 255
    assert np.allclose(splits.mean, scaled.mean((0, 2, 3)), rtol=1e-14)
    assert np.allclose(splits.std, scaled.std((0, 2, 3)), rtol=1e-14)
    assert splits.class_names == tuple(NAMES)
    assert files(root) == [FILE_NAME]


def test_floats_are_kept_as_they_are(tmp_path):
    inputs = RNG.random((4, 2, 3)).astype(np.float32)
    write_arrays(tmp_path, (inputs, LABELS[:4]), (inputs, LABELS[:4]), NAMES, "a test")
    splits = read_arrays(tmp_path)
    assert np.array_equal(splits.train.inputs, inputs)
    assert np.allclose(splits.mean, inputs.astype(np.float64).mean((0, 2)), rtol=1e-14)


def test_the_file_is_plain_safetensors(root):
    assert load_file(root / FILE_NAME)["test_labels"].tolist() == LABELS[6:].tolist()


def test_equal_data_gives_equal_files(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_arrays(other, (IMAGES[:6], LABELS[:6]), (IMAGES[6:], LABELS[6:]), NAMES, "a test")
    assert (other / FILE_NAME).read_bytes() == (root / FILE_NAME).read_bytes()


def test_the_arrays_are_mapped_not_read(root):
    inputs = read_arrays(root).train.inputs
    with open("/proc/self/maps") as maps:
        ours = [line.split()[0].split("-") for line in maps if line.rstrip().endswith(str(root / FILE_NAME))]
    assert any(int(low, 16) <= inputs.data_ptr() < int(high, 16) for low, high in ours)


def test_rows_are_written_into_a_map_in_any_order(tmp_path):
    with new_arrays(tmp_path, 6, 3, (3, 4, 5), NAMES, "a test") as written:
        assert all(isinstance(array, np.memmap) for array in written)
        for row in reversed(range(6)):
            written.train_inputs[row], written.train_labels[row] = IMAGES[row], LABELS[row]
        written.test_inputs[:], written.test_labels[:] = IMAGES[6:], LABELS[6:]
        assert FILE_NAME not in files(tmp_path)
    assert np.array_equal(read_arrays(tmp_path).train.inputs, IMAGES[:6])


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(root):
    before = (root / FILE_NAME).read_bytes()
    with pytest.raises(KeyboardInterrupt), new_arrays(root, 2, 2, (1, 2, 2), NAMES, "a test"):
        raise KeyboardInterrupt
    assert files(root) == [FILE_NAME]
    assert (root / FILE_NAME).read_bytes() == before


def test_an_error_of_the_caller_is_passed_on_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="theirs"), new_arrays(tmp_path, 2, 2, (1, 2, 2), NAMES, "a test"):
        raise FileNotFoundError("theirs")
    assert files(tmp_path) == []


def test_the_leftover_of_a_killed_job_is_removed(tmp_path):
    (tmp_path / f".{FILE_NAME}.123.part").write_bytes(b"half")
    write_arrays(tmp_path, (IMAGES, LABELS), (IMAGES, LABELS), NAMES, "a test")
    assert files(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(root, keep):
    path = root / FILE_NAME
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(DataError, match=rf"{path}: .*to make it again: rm -rf {path}, then the same snakemake command"):
        read_arrays(root)


def test_every_altered_byte_is_found(root):
    path = root / FILE_NAME
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        altered = bytearray(content)
        altered[at] ^= 1
        path.write_bytes(altered)
        with pytest.raises(DataError, match=str(path)):
            read_arrays(root)


def test_a_changed_byte_is_told_with_both_digests(root):
    path = root / FILE_NAME
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{path}: its content has changed: sha256 is \w{{64}}, expected \w{{64}}; to make it again"
    ):
        read_arrays(root)


def test_a_file_of_another_make_is_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / FILE_NAME)
    with pytest.raises(DataError, match="its format is not"):
        read_arrays(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path / FILE_NAME}: no such file; fetch the dataset"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(("num_train", "num_test", "word"), [(0, 3, "train"), (3, 0, "test")])
def test_an_empty_split_is_refused(tmp_path, num_train, num_test, word):
    with (
        pytest.raises(DataError, match=f"a test: {word} split is empty"),
        new_arrays(tmp_path, num_train, num_test, (1, 2, 2), NAMES, "a test"),
    ):
        pass
    assert files(tmp_path) == []


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(tmp_path, label):
    with pytest.raises(DataError, match=r"a test: a test label lies outside 0…2"):
        write_arrays(tmp_path, (IMAGES, LABELS), (IMAGES[:1], np.array([label])), NAMES, "a test")
    assert files(tmp_path) == []


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused(tmp_path, split, value):
    inputs = [np.zeros((3, 1, 2), np.float32), np.zeros((3, 1, 2), np.float32)]
    inputs[split][2, 0, 1] = value
    word = ("train", "test")[split]
    with pytest.raises(DataError, match=rf"a test: a {word} input is infinite or no number \(NaN\); replace it"):
        write_arrays(tmp_path, (inputs[0], LABELS[:3]), (inputs[1], LABELS[:3]), NAMES, "a test")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("train", "test", "labels", "problem"),
    [
        (np.uint16, np.uint16, np.int64, "train inputs are uint16"),
        (np.uint8, np.float32, np.int64, "test inputs are float32"),
        (np.uint8, np.uint8, np.float64, "train labels are float64"),
    ],
)
def test_types_that_would_lose_bits_are_refused(tmp_path, train, test, labels, problem):
    parts = [(np.zeros((3, 1, 2), dtype), LABELS[:3].astype(labels)) for dtype in (train, test)]
    with pytest.raises(DataError, match=rf"a test: {problem}; allowed: .*; convert them"):
        write_arrays(tmp_path, *parts, NAMES, "a test")


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path, full_disk):
    with (
        full_disk(1 << 20),
        pytest.raises(DataError, match=rf"{tmp_path}: .*free space"),
        new_arrays(tmp_path, 1 << 10, 1 << 10, (1, 64, 64), NAMES, "a test"),
    ):
        raise AssertionError("the space was not reserved")
    assert files(tmp_path) == []


def test_the_space_is_taken_not_promised(tmp_path):
    """A sparse file would be found too large for the disk only while it is filled, by a signal that ends the job."""
    with new_arrays(tmp_path, 1 << 8, 1 << 8, (1, 64, 64), NAMES, "a test"):
        (part,) = tmp_path.iterdir()
        assert part.stat().st_blocks * 512 >= part.stat().st_size > 1 << 21


def test_the_header_names_the_source_and_the_classes(root):
    content = (root / FILE_NAME).read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0  # so that every array begins where its numbers may
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert metadata["source"] == "a test"
    assert json.loads(metadata["class_names"]) == NAMES
    assert len(bytes.fromhex(metadata["sha256"])) == 32
