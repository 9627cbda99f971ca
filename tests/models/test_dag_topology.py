import pytest

from boundcheck.models.dag_topology import (
    autoencoder_dag,
    checked,
    complete_dag,
    num_parameters,
    paths,
    sequential,
)


def test_the_named_graphs():
    assert sequential(3) == ((0,), (1,), (2,))
    assert complete_dag(3) == ((0,), (0, 1), (0, 1, 2))
    assert autoencoder_dag(2, 2) == ((0,), (0, 1), (2,), (2, 3))
    assert autoencoder_dag(1, 1) == sequential(2)


def test_paths():
    assert list(paths(sequential(3))) == [(0, 1, 2, 3)]
    assert set(paths(complete_dag(3))) == {(0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)}
    assert len(list(paths(complete_dag(8)))) == 2**7


@pytest.mark.parametrize(("num_encoder", "num_decoder"), [(1, 1), (2, 3), (3, 3), (4, 4)])
def test_no_path_passes_the_code_by(num_encoder, num_decoder):
    found = list(paths(autoencoder_dag(num_encoder, num_decoder)))
    assert len(found) == 2 ** (num_encoder - 1) * 2 ** (num_decoder - 1)
    assert all(num_encoder in path for path in found)
    bypassed = list(paths(complete_dag(num_encoder + num_decoder)))
    assert any(num_encoder not in path for path in bypassed)


def test_checked_sorts_and_keeps():
    assert checked([[0], [1, 0], [2]], 3) == ((0,), (0, 1), (2,))


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([[0]], "got 1 lists; allowed: 2"),
        ([[1], [0]], r"got \[1\] for layer 1; allowed: at least one layer from 0 to 0"),
        ([[0], [2]], r"got \[2\] for layer 2"),
        ([[0], []], r"got \[\] for layer 2"),
        ([[0], [0, 0]], r"got \[0, 0\] for layer 2"),
        ([[-1], [0]], r"got \[-1\] for layer 1"),
        ([["0"], [0]], r"got \['0'\] for layer 1"),
        ([[0], [0]], "layer 1 feeds no layer"),
    ],
)
def test_what_is_no_dag_is_refused(parents, message):
    with pytest.raises(ValueError, match=f"^parents: {message}"):
        checked(parents, 2)


def test_number_of_parameters():
    widths = [64, 24, 12, 6, 12, 24, 64]
    assert num_parameters(widths, autoencoder_dag(3, 3), bias=True) == 6526
    assert num_parameters(widths, sequential(6), bias=True) == 3934
    assert num_parameters([3, 2], [[0]], bias=False) == 6
