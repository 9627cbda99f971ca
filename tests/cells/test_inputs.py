"""A job uses the data that its spec names, and no other."""

import shutil

import numpy as np
import pytest

from boundcheck.cells.inputs import data_digests
from boundcheck.data.arrays import arrays_digest, write_arrays
from boundcheck.manifests import ResultError


@pytest.fixture
def copied(arrays, tmp_path):
    shutil.copytree(arrays.parent, tmp_path / "digits")
    return tmp_path / "digits" / arrays.name


def test_the_digest_of_the_arrays(spec_of, arrays):
    assert data_digests(spec_of(), arrays) == {"dataset": arrays_digest(arrays)}


def test_arrays_of_another_dataset_under_the_name(spec_of, copied):
    """Whole and undamaged, but not what was fetched."""
    images, labels = np.zeros((20, 1, 8, 8), np.uint8), np.arange(20) % 2
    write_arrays(copied.parent, (images, labels), (images, labels), ["a", "b"], "test")
    with pytest.raises(
        ResultError, match=rf"{copied}: not the file that the provenance beside it lists.*rm -rf {copied},"
    ):
        data_digests(spec_of(), copied)


def test_a_folder_of_another_dataset_under_the_name(spec_of, copied):
    dataset = {"name": "digits", "kind": "mnist5k", "train_size": 100}
    with pytest.raises(ResultError, match=rf"provenance.json: made from other settings.*rm -rf {copied},"):
        data_digests(spec_of(dataset=dataset), copied)


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_provenance_that_is_damaged_or_gone(spec_of, copied, content):
    path = copied.with_name("provenance.json")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ResultError, match=rf"{path}: .*rm -rf {copied},"):
        data_digests(spec_of(), copied)
