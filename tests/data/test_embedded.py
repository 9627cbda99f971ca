from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch

from boundcheck.data import DATASETS, embedded
from boundcheck.data.embedded import split_rows
from boundcheck.data.errors import DataError
from boundcheck.registry import build


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    kinds = {kind: build(DATASETS, {"kind": kind}) for kind in ("mnist5k", "digits")}
    for kind, dataset in kinds.items():
        dataset.fetch(folder / kind)
    return {kind: dataset.load(folder / kind) for kind, dataset in kinds.items()}


def test_mnist5k(loaded):
    splits = loaded["mnist5k"]
    assert splits.train.inputs.shape == (4000, 1, 28, 28)
    assert splits.test.inputs.shape == (1000, 1, 28, 28)
    assert splits.train.inputs.dtype == torch.uint8
    assert splits.train.labels.bincount().tolist() == [400] * 10
    assert splits.test.labels.bincount().tolist() == [100] * 10


@pytest.mark.parametrize("kind", ["mnist5k", "digits"])
def test_the_sizes_are_those_of_the_arrays(loaded, kind):
    splits = loaded[kind]
    sizes = build(DATASETS, {"kind": kind}).sizes
    counts = len(splits.train.labels), len(splits.test.labels)
    assert sizes == (splits.input_shape, splits.num_classes, *counts, splits.class_names)


def test_digits_loses_nothing(loaded):
    from sklearn.datasets import load_digits

    splits = loaded["digits"]
    assert (len(splits.train.labels), len(splits.test.labels)) == (1442, 355)
    assert splits.input_shape == (1, 8, 8)
    counts = torch.cat([splits.train.inputs, splits.test.inputs]).double() * 16
    expected = load_digits().data
    assert sorted(map(tuple, counts.flatten(1).tolist())) == sorted(map(tuple, expected.tolist()))


def test_the_rows_do_not_depend_on_a_random_number_generator():
    labels = np.arange(40) % 4
    train, test = split_rows(labels)
    order = sorted(range(40), key=lambda row: hashlib.sha256(b"%d" % row).hexdigest())
    expected_test = {row for label in range(4) for row in [row for row in order if labels[row] == label][-2:]}
    assert train.tolist() == [row for row in order if row not in expected_test]
    assert test.tolist() == [row for row in order if row in expected_test]
    assert train[:4].tolist() == [39, 9, 8, 29]


def test_the_first_rows_of_a_class_are_a_fair_sample(loaded):
    """The mean image of a class from its first 100 rows is as far from that of all as of random rows."""
    labels, inputs = loaded["mnist5k"].train.labels, loaded["mnist5k"].train.inputs.double()
    for label in (0, 1):
        mine = inputs[labels == label]
        rows = random.Random(0)
        random_distances = [
            (mine[rows.sample(range(400), 100)].mean(0) - mine.mean(0)).norm().item() for _ in range(20)
        ]
        distance = (mine[:100].mean(0) - mine.mean(0)).norm().item()
        assert distance < 1.5 * max(random_distances)


@pytest.mark.parametrize("kind", ["mnist5k", "digits"])
def test_another_source_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(embedded, f"{kind.upper()}_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"(mnist_data|load_digits): its data has sha256 .*requirements.lock"):
        build(DATASETS, {"kind": kind}).fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
