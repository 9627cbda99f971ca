from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boundcheck.contracts import Split, Splits
from boundcheck.data import statistics
from boundcheck.data import view as view_module
from boundcheck.data.errors import DataError
from boundcheck.data.normalise import stratified
from boundcheck.data.sizes import Sizes
from boundcheck.data.statistics import channel_statistics
from boundcheck.data.view import View


def dataset(num_train=60, num_test=30, shape=(3, 6, 6), num_classes=5, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)

    def split(size):
        inputs = torch.randint(0, 256, (size, *shape), generator=generator)
        labels = torch.arange(size)[torch.randperm(size, generator=generator)] % num_classes
        return Split(inputs.to(dtype) if dtype == torch.uint8 else (inputs / 255).to(dtype), labels)

    train = split(num_train)
    mean, std = channel_statistics([train.inputs], shape[0], 255 if dtype == torch.uint8 else 1)
    return Splits(train, split(num_test), shape, num_classes, mean, std)


SPLITS = dataset()


def unit(inputs):
    """Images in [0, 1], float64."""
    return inputs.double() / 255


def apply(splits=SPLITS, dtype=torch.float64, **settings):
    return View(**settings).apply(splits, "cpu", dtype)


def test_standard_images_have_mean_0_and_spread_1():
    seen = apply()
    assert seen.train.inputs.shape == (60, 3, 6, 6)
    assert torch.allclose(seen.train.inputs.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(seen.train.inputs.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))
    x = unit(SPLITS.train.inputs)
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(seen.test.inputs, (unit(SPLITS.test.inputs) - mean) / std, rtol=1e-13)
    assert seen.train.labels.equal(SPLITS.train.labels)


def test_single_precision_is_double_precision_rounded():
    for normalise in ("standard", "unit", "sphere", "none"):
        single, double = (apply(dtype=dtype, normalise=normalise) for dtype in (torch.float32, torch.float64))
        assert single.train.inputs.dtype == torch.float32
        assert single.train.inputs.equal(double.train.inputs.float())


def test_blocks_leave_no_trace(monkeypatch):
    whole = apply(pool=2)
    monkeypatch.setattr(statistics, "BLOCK_ELEMENTS", 7 * 108)
    parts = apply(pool=2)
    assert parts.train.inputs.equal(whole.train.inputs)
    assert parts.test.inputs.equal(whole.test.inputs)
    assert parts.std.equal(whole.std)


def test_a_constant_channel_becomes_zero():
    splits = dataset()
    splits.train.inputs[:, 1] = 9
    mean, std = channel_statistics([splits.train.inputs], 3, 255)
    assert (apply(splits._replace(mean=mean, std=std)).train.inputs[:, 1] == 0).all()


def test_unit_and_none():
    assert apply(normalise="unit").train.inputs.equal(unit(SPLITS.train.inputs))
    assert apply(normalise="none").test.inputs.equal(SPLITS.test.inputs.double())


def test_inputs_on_the_sphere():
    inputs = apply(normalise="sphere").test.inputs.flatten(1)
    x = unit(SPLITS.test.inputs).flatten(1)
    assert torch.allclose(inputs.norm(dim=1), torch.full((30,), 108**0.5, dtype=torch.float64), rtol=1e-15)
    assert torch.allclose(inputs / inputs.norm(dim=1, keepdim=True), x / x.norm(dim=1, keepdim=True), rtol=1e-14)


def test_zero_cannot_lie_on_a_sphere():
    splits = dataset()
    splits.test.inputs[4] = 0
    with pytest.raises(DataError, match="normalise: an input is zero everywhere"):
        apply(splits, normalise="sphere")


@pytest.mark.parametrize(("pool", "windows"), [(1, (6, 6)), (2, (3, 3)), (3, (2, 2)), (6, (1, 1))])
def test_pooling_averages_windows(pool, windows):
    seen = apply(pool=pool, normalise="unit")
    x = unit(SPLITS.train.inputs)
    expected = torch.stack(
        [
            torch.stack(
                [
                    x[:, :, i * windows[0] : (i + 1) * windows[0], j * windows[1] : (j + 1) * windows[1]].mean((2, 3))
                    for j in range(pool)
                ],
                -1,
            )
            for i in range(pool)
        ],
        -2,
    )
    assert torch.allclose(seen.train.inputs, expected, rtol=1e-14)
    assert seen.input_shape == (3, pool, pool)
    assert torch.allclose(seen.mean, expected.mean((0, 2, 3)), rtol=1e-14)
    assert torch.allclose(seen.std, expected.std((0, 2, 3), correction=0), rtol=1e-13)


def test_oblong_images_are_pooled_to_squares():
    splits = dataset(shape=(1, 4, 6))
    seen = apply(splits, pool=2, normalise="unit")
    expected = unit(splits.train.inputs).view(60, 1, 2, 2, 2, 3).mean((3, 5))
    assert torch.allclose(seen.train.inputs, expected, rtol=1e-14)


def test_standard_is_taken_after_pooling_of_the_examples_in_use():
    seen = apply(train_size=20, pool=3)
    assert seen.train.inputs.shape == (20, 3, 3, 3)
    assert torch.allclose(seen.train.inputs.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(seen.train.inputs.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))


def test_statistics_found_and_statistics_stored_agree_to_the_last_digit():
    seen = apply(SPLITS, pool=6)
    found = apply(SPLITS._replace(mean=SPLITS.mean * 0, std=SPLITS.std * 0), train_size=55)
    rows = torch.cat([(SPLITS.train.labels == label).nonzero()[:11, 0] for label in range(5)]).sort().values
    mean, std = channel_statistics([SPLITS.train.inputs[rows]], 3, 255)
    assert (seen.mean.equal(SPLITS.mean), seen.std.equal(SPLITS.std)) == (True, True)
    assert (found.mean.equal(mean), found.std.equal(std)) == (True, True)


@given(st.lists(st.integers(0, 2), min_size=3, max_size=40), st.integers(1, 5))
def test_a_subset_is_the_first_of_each_class(labels, per_class):
    split = Split(torch.arange(len(labels)), torch.tensor(labels))
    expected = [row for row, label in enumerate(labels) if labels[:row].count(label) < per_class]
    if min(labels.count(label) for label in range(3)) < per_class:
        if len(labels) != 3 * per_class:
            with pytest.raises(DataError, match=r"train_size: got .*at most"):
                stratified(split, 3 * per_class, 3, "train_size")
    else:
        subset = stratified(split, 3 * per_class, 3, "train_size")
        assert subset.inputs.tolist() == expected
        assert subset.labels.tolist() == [labels[row] for row in expected]


def test_sizes_that_do_not_fit():
    assert apply(train_size=60, test_size=10).test.labels.bincount().tolist() == [2] * 5
    with pytest.raises(DataError, match=r"train_size: got 12; allowed: multiples of 5"):
        apply(train_size=12)
    with pytest.raises(DataError, match=r"train_size: got 3; allowed: multiples of 5"):
        apply(train_size=3)
    with pytest.raises(DataError, match=r"test_size: got 35; allowed: at most 30"):
        apply(test_size=35)
    with pytest.raises(DataError, match=r"pool: got 4; allowed: divisors .* inputs are \(3, 6, 6\)"):
        apply(pool=4)
    with pytest.raises(DataError, match=r"pool: got 4; .* inputs are \(8,\)"):
        apply(dataset(shape=(8,)), pool=4)


def test_stored_floats_are_taken_as_they_are():
    splits = dataset(dtype=torch.float32)
    assert apply(splits, normalise="unit").train.inputs.equal(splits.train.inputs.double())
    seen = apply(splits)
    assert torch.allclose(seen.train.inputs.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-13)


def test_flat_inputs():
    seen = apply(dataset(shape=(8,)))
    assert torch.allclose(seen.train.inputs.mean(0), torch.zeros(8, dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("normalise", ["standard", "unit", "sphere", "none"])
@pytest.mark.parametrize("pool", [None, 2])
def test_large_data_stays_uint8_and_batches_equal_the_whole(monkeypatch, normalise, pool):
    view = View(train_size=50, pool=pool, normalise=normalise)
    whole = view.apply(SPLITS, "cpu", torch.float32)
    monkeypatch.setattr(view_module, "MAX_FLOAT_BYTES", 0)
    seen = view.apply(SPLITS, "cpu", torch.float32)
    floats = view.batch(seen, "cpu", torch.float32)
    assert seen.train.inputs.dtype == torch.uint8
    assert seen.input_shape == whole.input_shape
    assert seen.mean.equal(whole.mean)
    for rows in (torch.tensor([4, 0, 9]), torch.tensor([[1, 2], [3, 4], [5, 5]])):  # a batch, a stack of 3 batches
        assert floats(seen.train.inputs[rows]).equal(whole.train.inputs[rows])
    assert floats(seen.test.inputs).equal(whole.test.inputs)


def test_all_of_large_data_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(view_module, "MAX_FLOAT_BYTES", 0)
    seen = apply(test_size=10)
    assert seen.train.inputs is SPLITS.train.inputs


def test_the_limit_counts_floats_after_subset_and_pooling(monkeypatch):
    monkeypatch.setattr(view_module, "MAX_FLOAT_BYTES", (20 + 30) * 3 * 3 * 3 * 4)
    assert apply(dtype=torch.float32, train_size=20, pool=3).train.inputs.dtype == torch.float32
    assert apply(dtype=torch.float64, train_size=20, pool=3).train.inputs.dtype == torch.uint8
    assert apply(dtype=torch.float32, train_size=25, pool=3).train.inputs.dtype == torch.uint8


def test_batches_of_converted_data_are_left_alone():
    seen = apply()
    inputs = seen.train.inputs[:4]
    assert View().batch(seen, "cpu", torch.float64)(inputs) is inputs


def test_two_classes_are_made_of_many_after_the_choice_of_examples():
    many, two = apply(train_size=20, test_size=10), apply(train_size=20, test_size=10, positive=[1, 4])
    assert (many.num_classes, two.num_classes) == (5, 2)
    for part in ("train", "test"):
        before, after = getattr(many, part), getattr(two, part)
        assert after.inputs.equal(before.inputs)
        assert after.labels.dtype == torch.int64
        assert after.labels.tolist() == [int(label in (1, 4)) for label in before.labels.tolist()]
        assert after.labels.double().mean() == 0.4
    assert View(positive=[1, 4]).sizes(Sizes(num_classes=5)).num_classes == 2
    assert View(positive=[1, 4]).sizes(Sizes()).num_classes == 2
    assert View().sizes(Sizes(num_classes=5)).num_classes == 5


@pytest.mark.parametrize("positive", [[5], [0, 1, 2, 3, 4]])
def test_classes_that_are_not_there_and_all_of_them_are_refused(positive):
    with pytest.raises(ValueError, match=r"positive: got .*; allowed: some, but not all, of 0…4"):
        View(positive=positive).sizes(Sizes(num_classes=5))
    with pytest.raises(DataError, match=r"positive: got .*; allowed: some, but not all, of 0…4"):
        apply(positive=positive)


def test_positive_takes_names_in_any_unicode_form():
    named = SPLITS._replace(class_names=("bee", "cafe\u0301", "3", "dog", "ant"))
    by_number = apply(positive=[1, 2]).train.labels
    assert apply(named, positive=["caf\u00e9", "3"]).train.labels.equal(by_number)
    assert apply(named, positive=["caf\u00e9", 2]).train.labels.equal(by_number)
    assert View(positive=["bee"]).sizes(Sizes(num_classes=5)).num_classes == 2
    for wrong in (["wasp"], ["bee", "cafe\u0301", "3", "dog", 4]):
        with pytest.raises(DataError, match=r"positive: got .*; allowed: .* 0…4, or of their names: 'bee', "):
            apply(named, positive=wrong)


def test_the_settings_are_known_without_torch():
    code = "import sys, boundcheck.data.view; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_imports_no_source_of_data():
    code = (
        "import sys, boundcheck.data as d; d.MNIST, d.MNIST5k, d.ImageFolder;"
        "sys.exit(str(set(sys.modules) & {'torchvision', 'sklearn', 'mlxtend', 'PIL', 'pandas', 'scipy'} or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr.strip() == b""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_same(monkeypatch):
    for normalise in ("standard", "unit", "none"):
        view = View(pool=3, normalise=normalise)
        assert (
            view.apply(SPLITS, "cuda", torch.float32)
            .train.inputs.cpu()
            .equal(view.apply(SPLITS, "cpu", torch.float32).train.inputs)
        )
