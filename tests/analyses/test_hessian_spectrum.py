from __future__ import annotations

import pytest
import torch

from boundcheck.analyses import HessianSpectrum
from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.contracts import Snapshot, Split
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.operator import dense
from boundcheck.models import MODELS
from boundcheck.objectives import Square
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings


def rows_of(analysis, model, objective, train, generator):
    rows = analysis.measure(Snapshot(model, objective, train, train, generator, TrainingSettings()))
    return {row.quantity: row for row in rows if row.quantity != "eigenvalue"}, [
        row for row in rows if row.quantity == "eigenvalue"
    ]


@pytest.mark.parametrize("network", ["mlp", "convolution"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_row_against_the_dense_hessian(network, dtype, objective, train, generator, loss_of, request):
    model = request.getfixturevalue(network).eval()
    loss, theta = loss_of(model, objective, train)
    hessian = torch.autograd.functional.hessian(loss, theta)
    true = torch.linalg.eigvalsh(hessian).flip(0)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    analysis = HessianSpectrum(top_k=3, bottom_k=2, dtype=dtype, residual_tolerance=1e-3)
    found, eigenvalues = rows_of(analysis, model, objective, train, generator)

    p, rounding = len(theta), 1e-12 if dtype == "float64" else 1e-5
    assert [row.index for row in eigenvalues] == [0, 1, 2, p - 2, p - 1]
    for row in eigenvalues:
        assert abs(row.value - true[row.index]) <= row.error + rounding
        assert row.value == pytest.approx(true[row.index].item(), rel=1e-3, abs=1e-4)
    for quantity, value in {
        "loss": loss(theta),
        "gradient_norm": gradient.norm(),
        "parameter_norm": theta.norm(),
        "sharpness": true[0],
        "smallest_eigenvalue": true[-1],
        "spectral_norm": true.abs().max(),
        "scale_free_sharpness": true[0] * theta.norm() ** 2,
    }.items():
        assert found[quantity].value == pytest.approx(value.item(), rel=1e-4), quantity
    norm = theta.norm().item()
    assert found["sharpness"].error == eigenvalues[0].error
    assert found["scale_free_sharpness"].error == pytest.approx(eigenvalues[0].error * norm**2, rel=1e-6)
    assert 0 < found["num_hvps"].value <= p


def test_without_a_bottom_nothing_is_said_of_it(mlp, objective, train, generator):
    found, eigenvalues = rows_of(HessianSpectrum(top_k=1, bottom_k=0), mlp, objective, train, generator)
    assert len(eigenvalues) == 1
    assert not {"smallest_eigenvalue", "spectral_norm"} & set(found)


def test_the_spectral_norm_of_a_saddle_is_the_negative_end(objective, train, generator):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
    with torch.no_grad():
        model[3].weight.mul_(-6)
        model[1].weight.mul_(3)
    found, _ = rows_of(HessianSpectrum(), model, objective, train, generator)
    top, bottom = found["sharpness"].value, found["smallest_eigenvalue"].value
    assert bottom < 0
    assert found["spectral_norm"].value == max(top, -bottom)


def test_a_diagonal_hessian_smaller_than_what_is_asked_for(train, generator):
    class Bowl:
        def losses(self, outputs, targets):
            return outputs.square().sum(-1).mean(-1)

        def targets(self, split):
            return split.labels

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.tensor([3.0, 4.0]))

        def forward(self, inputs):
            return self.value.expand(len(inputs), 2)

    found, eigenvalues = rows_of(HessianSpectrum(top_k=5, bottom_k=1), Constant(), Bowl(), train, generator)
    assert [(row.index, row.value) for row in eigenvalues] == [(0, pytest.approx(2)), (1, pytest.approx(2))]
    assert found["parameter_norm"].value == pytest.approx(5)
    assert found["scale_free_sharpness"].value == pytest.approx(50)


def test_the_copies_of_a_linear_network_with_the_square_loss_are_counted(generator):
    """Its Hessian is that of one output, once for each of ten; its largest stands ten times at the top."""
    draw = torch.Generator().manual_seed(0)
    digits = Split(torch.rand(300, 1, 4, 4, dtype=torch.float64, generator=draw), torch.arange(300) % 10)
    model = build(MODELS, {"kind": "mlp", "depth": 0, "width": 8}).build((1, 4, 4), 10, draw).double()
    losses, theta = flat_loss(model, Square(), digits)
    true = torch.linalg.eigvalsh(dense(HessianOperator(losses, theta))).flip(0)
    assert true[0] - true[9] < 1e-10 < true[9] - true[10]
    found, eigenvalues = rows_of(HessianSpectrum(top_k=12), model, Square(), digits, generator)
    assert found["converged"].value == 1
    for row in eigenvalues[:12]:
        assert row.value == pytest.approx(true[row.index].item(), rel=1e-3)
        assert abs(row.value - true[row.index]) <= row.error
    short, _ = rows_of(HessianSpectrum(top_k=12, max_hvps=40), model, Square(), digits, generator)
    assert short["converged"].value == 0
