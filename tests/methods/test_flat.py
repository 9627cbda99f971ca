"""Flat vectors: copying to and fro changes no bit; norms, directions and projections are those of each row."""

from __future__ import annotations

import pytest
import torch

from boundcheck.methods.flat import CHUNK, FlatLayout, along, norm, perpendicular


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("num_stacked", [1, 3])
def test_there_and_back_changes_no_bit(dtype, num_stacked):
    shapes = [(3, 4, 5), (3, 4), (3, 2, 1, 3, 3), (3,)]
    tensors = [torch.randn(shape).to(dtype) for shape in shapes]
    flat, pieces = FlatLayout(tensors, num_stacked).gather(tensors, "theta")
    assert flat.shape == (num_stacked, sum(t.numel() for t in tensors) // num_stacked)
    assert flat.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert all(torch.equal(piece.to(dtype), tensor) for piece, tensor in zip(pieces, tensors, strict=True))
    flat.mul_(2)
    assert all(torch.equal(piece.to(dtype), 2 * tensor) for piece, tensor in zip(pieces, tensors, strict=True))


def test_a_row_holds_its_slice_of_every_parameter():
    weight, bias = torch.randn(3, 4, 5), torch.randn(3, 4)
    flat, _ = FlatLayout([weight, bias], 3).gather([weight, bias], "theta")
    for i in range(3):
        assert torch.equal(flat[i], torch.cat([weight[i].flatten(), bias[i]]))


def test_a_channels_last_parameter_meets_gradients_of_any_layout():
    weight = torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last)
    gradient = torch.randn(6, 4, 3, 3)
    (piece,) = FlatLayout([weight]).gather([gradient], "gradient").pieces
    assert torch.equal(piece, gradient)
    assert piece.stride() == weight.stride()


def test_a_buffer_is_made_once_for_each_name():
    tensors = [torch.ones(2, 2)]
    layout = FlatLayout(tensors)
    first, other = layout.gather(tensors, "first"), layout.gather([torch.zeros(2, 2)], "other")
    assert torch.equal(first.flat, torch.ones(1, 4))
    assert torch.equal(other.flat, torch.zeros(1, 4))
    assert layout.buffer("first") is first
    assert layout.is_of(tensors)
    assert not layout.is_of([torch.ones(2, 2)])
    assert not layout.is_of([])


def test_any_flat_vector_comes_in_pieces():
    tensors = [torch.ones(2, 2), torch.ones(3)]
    layout = FlatLayout(tensors)
    buffer = layout.gather(tensors, "gradient")
    assert layout.pieces(buffer.flat) is buffer.pieces
    elsewhere = torch.arange(7.0).view(1, 7)
    first, last = layout.pieces(elsewhere)
    assert first.tolist() == [[0, 1], [2, 3]]
    assert last.tolist() == [4, 5, 6]


def test_no_gradient_counts_as_zeros():
    tensors = [torch.ones(2), torch.ones(3)]
    layout = FlatLayout(tensors)
    layout.gather(tensors, "gradient")
    assert layout.gather([None, torch.ones(3)], "gradient").flat.tolist() == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize("length", [1, 1000, 2 * CHUNK, 5 * CHUNK + 17])
def test_norm_is_that_of_each_row(length):
    v = torch.randn(3, length, dtype=torch.float64)
    expected = torch.tensor([[row.square().sum().sqrt()] for row in v], dtype=torch.float64)
    torch.testing.assert_close(norm(v), expected, rtol=1e-13, atol=0)


def test_norm_of_ten_million_float32_keeps_six_digits():
    v = torch.rand(1, 10**7, generator=torch.Generator().manual_seed(0)) + 0.5
    torch.testing.assert_close(norm(v).double(), v.double().norm().view(1, 1), rtol=1e-6, atol=0)


def test_along_has_the_length_asked_for_and_zero_stays_zero():
    v = torch.randn(2, 50, dtype=torch.float64)
    v[1] = 0
    step = along(v, 0.3)
    assert norm(step)[0].item() == pytest.approx(0.3, rel=1e-11)
    assert torch.equal(step[1], torch.zeros(50, dtype=torch.float64))
    lengths = torch.rand(50, dtype=torch.float64)
    torch.testing.assert_close(along(v, lengths)[0], lengths * v[0] / v[0].norm(), rtol=1e-11, atol=0)


def test_perpendicular_is_what_projection_leaves():
    v, u = torch.randn(2, 3, 20, dtype=torch.float64)
    rest = perpendicular(v, u)
    for i in range(3):
        projector = torch.eye(20, dtype=torch.float64) - torch.outer(u[i], u[i]) / u[i].dot(u[i])
        torch.testing.assert_close(rest[i], projector @ v[i], rtol=0, atol=1e-10)


def test_a_stack_needs_the_leading_axis_everywhere():
    for wrong in (torch.ones(2, 4), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="num_stacked=3"):
            FlatLayout([torch.ones(3, 4), wrong], 3)
