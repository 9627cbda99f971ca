"""Analyses of weight-normalised networks, against dense derivatives and against the theory called directly."""

from __future__ import annotations

import math
import statistics
from types import SimpleNamespace

import pytest
import torch
from torch.func import functional_call, grad, hessian

from boundcheck.analyses import ANALYSES
from boundcheck.analyses.predictor_hessian import closed_form_applies
from boundcheck.analyses.predictor_operators import output_directions, predictor_hessians
from boundcheck.analyses.restricted_convexity import RestrictedConvexity, nearest_in_cone
from boundcheck.claims.shared.statistics import log_log_slope
from boundcheck.contracts import Snapshot, Split
from boundcheck.curvature.predictor import PredictorHessians, spectral_norms
from boundcheck.models import MLP, WeightNormMLP
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.objectives import CrossEntropy, Square
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings
from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.generalisation import generalisation_gap_bound

VARIANTS = [
    {},
    {"activation": "softplus", "depth": 3},
    {"normalised": False, "row_norm": 1.0},
    {"gains": "trainable"},
    {"gains": "fixed", "gain": -0.7},
    {"depth": 1, "scales": "plain"},
]
NUM_OUTPUTS, DIMENSION, NUM = 3, 7, 12


def network(seed=0, outputs=NUM_OUTPUTS, **settings):
    model = WeightNormMLP(**({"depth": 2, "width": 4} | settings))
    return model.build((DIMENSION,), outputs, torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def train():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(NUM, DIMENSION, generator=generator, dtype=torch.float64)
    x = x * math.sqrt(DIMENSION) / x.norm(dim=1, keepdim=True)
    return Split(x, torch.randint(NUM_OUTPUTS, (NUM,), generator=generator))


def measure(kind, model, train, objective=None, test=None, **settings):
    analysis = build(ANALYSES, {"kind": kind, **settings})
    generator = torch.Generator().manual_seed(0)
    rows = analysis.measure(Snapshot(model, objective or Square(), train, test or train, generator, TrainingSettings()))
    found = {
        (row.quantity, row.index, row.coordinate if row.coordinate == row.coordinate else None): row for row in rows
    }
    assert len(found) == len(rows)
    return found


def flat(model):
    named = {name: p.detach() for name, p in model.named_parameters()}

    def call(function):
        def of(theta):
            parts = theta.split([p.numel() for p in named.values()])
            state = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
            return function(lambda x: functional_call(model, state, (x,)))

        return of

    return call, torch.cat([p.flatten() for p in named.values()])


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_predictor_norms_are_those_of_the_dense_hessian(settings, train):
    model = network(**settings)
    found = measure("predictor_hessian", model, train, samples=4, tolerance=1e-10, max_hvps=200)
    call, theta = flat(model)
    norms = []
    for i in range(4):
        predict = call(lambda net, i=i: net(train.inputs[i : i + 1])[0, train.labels[i]])
        norms.append(torch.linalg.matrix_norm(hessian(predict)(theta), 2).item())
        row = found["predictor_hessian_norm", i, None]
        assert row.value == pytest.approx(norms[-1], rel=1e-6)
        assert row.error >= 0
        gradient = grad(predict)(theta).norm().item()
        assert found["predictor_gradient_norm", i, None].value == pytest.approx(gradient, rel=1e-10)
        assert found["gradient_bound_blocks", i, None].value == pytest.approx(gradient, rel=1e-10)
        bounds = [
            row.value for (name, index, _), row in found.items() if name.startswith("hessian_bound") and index == i
        ]
        assert min(bounds) >= norms[-1] * (1 - 1e-10)
        assert len(bounds) == 3 + 2 * model.theory().normalised + 2 * closed_form_applies(model.theory())
    assert found["mean_predictor_hessian_norm", -1, None].value == pytest.approx(statistics.fmean(norms), rel=1e-6)
    squares = model(train.inputs).square().sum(1).mean().item()
    assert found["function_norm", -1, None].value == pytest.approx(math.sqrt(squares), rel=1e-12)


def test_the_reduced_operator_may_lack_the_largest_eigenvalue():
    """One short row where what bends φ cancels what turns the row, in the plane of row and input but not outside it."""
    phi, low, high = SMOOTH["gelu"], -2.0, -0.7518
    for _ in range(100):  # zφ″/φ′ = 4
        z = torch.tensor((low + high) / 2, dtype=torch.float64)
        low, high = (low, z.item()) if z * phi.bend(z) / phi.slope(z) > 4 else (z.item(), high)
    model = network(depth=1, width=1, activation="gelu")
    along = z.item() * math.sqrt(DIMENSION)
    x = torch.zeros(1, DIMENSION, dtype=torch.float64)
    x[0, 0], x[0, 1] = along, along / 2
    with torch.no_grad():
        model.layers[0].weight.zero_()[0, 0] = 1e-3
    split = Split(x, torch.zeros(1, dtype=torch.int64))
    call, theta = flat(model)
    norm = torch.linalg.matrix_norm(hessian(call(lambda net: net(x)[0, 0]))(theta), 2).item()
    operator, known = predictor_hessians(model, x, output_directions(split.labels, NUM_OUTPUTS))
    inside = spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=1e-10).norms.item()
    assert inside < 0.6 * norm
    assert known.item() == pytest.approx(norm, rel=1e-6)
    found = measure("predictor_hessian", model, split, samples=1, tolerance=1e-10)
    assert found["predictor_hessian_norm", 0, None].value == pytest.approx(norm, rel=1e-6)


def test_other_networks_have_no_bounds(train):
    model = MLP(depth=1, width=4).build((DIMENSION,), NUM_OUTPUTS, torch.Generator().manual_seed(0)).double()
    found = measure("predictor_hessian", model, train, samples=2)
    assert not [name for name, *_ in found if "bound" in name]
    assert found["predictor_hessian_norm", 1, None].value > 0
    assert measure("row_scaling", model, train) == {}
    assert measure("restricted_convexity", model, train) == {}
    assert ("gap_bound", -1, None) not in measure("generalisation_gap", model, train)


def test_row_scaling(train):
    model = network(activation="gelu")
    found = measure("row_scaling", model, train, samples=2, factors=[0.5, 1.0, 4.0])
    for quantity, power in (("hidden_hessian_norm", 2), ("hidden_gradient_norm", 1), ("function_norm", 0)):
        unit = found[quantity, -1, 1.0].value
        for c in (0.5, 4.0):
            assert found[quantity, -1, c].value == pytest.approx(unit / c**power, rel=1e-9)
    call, theta = flat(model)
    size = sum(layer.weight.numel() for layer in model.layers)
    norms = []
    for i in range(2):
        predict = call(lambda net, i=i: net(train.inputs[i : i + 1])[0, train.labels[i]])
        norms.append(torch.linalg.matrix_norm(hessian(predict)(theta)[:size, :size], 2).item())
    assert found["hidden_hessian_norm", -1, 1.0].value == pytest.approx(statistics.fmean(norms), rel=1e-2)
    twin = measure("row_scaling", network(normalised=False), train, samples=2, factors=[1.0, 4.0])
    assert twin["function_norm", -1, 4.0].value > 2 * twin["function_norm", -1, 1.0].value


@pytest.mark.parametrize("settings", [{}, {"activation": "softplus"}, {"normalised": False}], ids=str)
def test_restricted_convexity(settings, train):
    model = network(**settings, row_norm=5.0)
    found = measure("restricted_convexity", model, train, radii=[0.01], kappa=0.9, directions=5)
    call, theta = flat(model)
    loss = call(lambda net: Square().losses(net(train.inputs), train.labels))
    average = call(lambda net: net(train.inputs).sum(1).mean() / math.sqrt(NUM_OUTPUTS))
    assert found["loss", -1, None].value == pytest.approx(loss(theta).item())
    assert found["gradient_norm", -1, None].value == pytest.approx(grad(loss)(theta).norm().item())
    average_norm = grad(average)(theta).norm().item()
    assert found["average_gradient_norm", -1, None].value == pytest.approx(average_norm)
    matrix = hessian(loss)(theta)
    assert found["loss_smoothness", -1, None].value >= torch.linalg.eigvalsh(matrix)[-1]
    ends = torch.linalg.eigvalsh(matrix)[[0, -1]]
    for i in range(5):
        curvature = found["sampled_curvature", i, 0.01].value
        assert ends[0] - 0.05 * ends[1] <= curvature <= 1.05 * ends[1]
        assert curvature >= found["convexity", -1, 0.01].value
    assert found["convexity", -1, 0.01].value < found["convexity_limit", -1, None].value <= 2 * 0.81 * average_norm**2
    cosine = found["row_gradient_cosine", -1, None].value
    assert (cosine < 1e-14) == model.theory().normalised


def test_of_one_output_the_theory_is_that_of_targets_1_and_minus_1(train):
    """L = (1/n) Σ (f − y)², whose Hessian is (2/n) Σ (∇f ∇fᵀ + (f − y) ∇²f)."""
    model, train = network(outputs=1, row_norm=5.0), Split(train.inputs, train.labels % 2)
    call, theta = flat(model)
    target = 2.0 * train.labels - 1
    loss = call(lambda net: (net(train.inputs)[:, 0] - target).square().mean())
    found = measure("restricted_convexity", model, train, radii=[0.01], directions=5)
    assert found["loss", -1, None].value == pytest.approx(loss(theta).item(), rel=1e-12)
    residuals = (model(train.inputs)[:, 0] - target).abs().mean().item()
    assert found["residual_norm", -1, None].value == pytest.approx(residuals, rel=1e-12)
    assert found["loss_smoothness", -1, None].value >= torch.linalg.eigvalsh(hessian(loss)(theta))[-1]
    assert all(found["sampled_curvature", i, 0.01].value >= found["convexity", -1, 0.01].value for i in range(5))
    predictor = measure("predictor_hessian", model, train, samples=3, tolerance=1e-10)
    for i in range(3):
        predict = call(lambda net, i=i: net(train.inputs[i : i + 1])[0, 0])
        norm = torch.linalg.matrix_norm(hessian(predict)(theta), 2).item()
        assert predictor["predictor_hessian_norm", i, None].value == pytest.approx(norm, rel=1e-6)
        assert norm <= predictor["hessian_bound_blocks", i, None].value <= 2 * norm
    gap = measure("generalisation_gap", model, train)
    assert gap["zero_loss", -1, None].value == 1
    expected = generalisation_gap_bound(NUM, [1.0], 2, model.theory().activation, 1.0)
    assert gap["gap_bound", -1, None].value == pytest.approx(expected, rel=1e-6)


def test_a_certified_rate(train):
    model = network(activation="softplus", width=64, row_norm=20.0)
    found = measure("restricted_convexity", model, train, radii=[0.001], directions=5)
    assert found["convexity", -1, 0.001].value > 0
    loss, names = found["loss", -1, None].value, ("loss_after_step", "rate_bound", "least_loss", "certified_rate")
    after, bound, least, rate = (found[name, -1, 0.001].value for name in names)
    assert least < loss - 1e-9
    assert loss - bound == pytest.approx(rate * (loss - least))
    assert after <= bound < loss


@pytest.mark.parametrize("num_steps", [0, 400], ids=["on the edge of the set", "inside"])
def test_the_least_loss_is_searched_down_the_gradient_within_the_set(train, num_steps):
    """Along the direction of the cone nearest to −∇L the loss falls by slope²/(2 curvature), which random ones miss."""
    model = network(activation="softplus", width=64, row_norm=20.0)
    for _ in range(num_steps):
        gradients = torch.autograd.grad(Square().losses(model(train.inputs), train.labels), [*model.parameters()])
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p -= 0.5 * g
    found = measure("restricted_convexity", model, train, radii=[0.01], kappa=0.9, directions=2)
    call, theta = flat(model)
    loss = call(lambda net: Square().losses(net(train.inputs), train.labels))
    average = call(lambda net: net(train.inputs).sum(1).mean() / math.sqrt(NUM_OUTPUTS))
    gradient, axis = grad(loss)(theta), grad(average)(theta)
    delta = nearest_in_cone(-gradient, axis / axis.norm(), 0.9)
    down = -axis / axis.norm() * torch.sign(axis @ gradient)
    steps = torch.linspace(0, 0.01, 200, dtype=torch.float64)
    expected = min(loss(theta + step * d).item() for step in steps for d in (delta, down))
    start = found["loss", -1, None].value
    assert start - found["least_loss", -1, 0.01].value == pytest.approx(start - expected, rel=1e-3)


def test_the_first_directions_descend():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        gradient, average = torch.randn(2, 6, generator=generator, dtype=torch.float64)
        around = SimpleNamespace(gradient=gradient, average_gradient=average)
        found = torch.stack(RestrictedConvexity(kappa=0.8, directions=9)._directions(around, generator))
        assert (found[:2] @ gradient < 0).all()
        assert ((found @ average).abs() >= (0.8 - 1e-12) * average.norm()).all()
        torch.testing.assert_close(found.norm(dim=1), torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("kappa", [0.3, 0.9, 1.0])
def test_the_nearest_direction_of_a_cone(kappa):
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(5, generator=generator, dtype=torch.float64), dim=0)
    others = torch.nn.functional.normalize(torch.randn(20_000, 5, generator=generator, dtype=torch.float64), dim=1)
    others = others[(others @ axis).abs() >= kappa]
    for scale in (0.2, 3.0):
        wanted = torch.randn(5, generator=generator, dtype=torch.float64) * scale
        found = nearest_in_cone(wanted, axis, kappa)
        assert found.norm().item() == pytest.approx(1)
        assert (found @ axis).abs() >= kappa - 1e-12
        assert not len(others) or found @ wanted >= (others @ wanted).max()
    for wanted in (axis, -axis, 0 * axis):
        assert (nearest_in_cone(wanted, axis, kappa) @ axis).abs().item() == pytest.approx(1)


def test_convexity_needs_the_square_loss_and_inputs_of_one_length(train):
    assert measure("restricted_convexity", network(), train, CrossEntropy()) == {}
    longer = train._replace(inputs=train.inputs * torch.linspace(1, 2, NUM)[:, None])
    assert measure("restricted_convexity", network(), longer) == {}


def test_generalisation_gap(train):
    model = network(output_norm=2.5)
    test = Split(train.inputs.flip(1), train.labels)
    found = measure("generalisation_gap", model, train, test=test)
    losses = [Square().losses(model(part.inputs), part.labels).item() for part in (train, test)]
    assert found["train_loss", -1, None].value == pytest.approx(losses[0])
    assert found["gap", -1, None].value == pytest.approx(losses[1] - losses[0])
    bound = generalisation_gap_bound(NUM, [2.5] * 3, 2, model.theory().activation, 1.0)
    assert found["gap_bound", -1, None].value == pytest.approx(bound, rel=1e-6)
    zero_loss, needed = (found[name, -1, None].value for name in ("zero_loss", "num_samples_needed"))
    assert zero_loss == 1
    at_needed = generalisation_gap_bound(needed, [2.5] * 3, 2, model.theory().activation, 1.0)
    assert at_needed == pytest.approx(zero_loss, rel=1e-3)
    for other in ({"normalised": False}, {"gains": "fixed", "gain": 2.0}, {"scales": "plain"}):
        assert ("gap_bound", -1, None) not in measure("generalisation_gap", network(**other), train)
    assert ("gap_bound", -1, None) not in measure("generalisation_gap", model, train, CrossEntropy())


KINDS = ["predictor_hessian", "row_scaling", "restricted_convexity", "generalisation_gap"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_left_alone_and_equal_seeds_give_equal_rows(kind, train):
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = ({key: row.value for key, row in measure(kind, model, train).items()} for _ in range(2))
    assert first == second
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


REFUSED = [
    ("row_scaling", {"factors": [2.0]}, "factors: got"),
]


@pytest.mark.parametrize(("kind", "change", "message"), REFUSED)
def test_numbers_that_make_no_sense_are_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        build(ANALYSES, {"kind": kind, **change})


DRAWS, DIM = 24, 16


def mean_norm(activation, depth, width):
    """The predictor Hessian's norm at uniform initialisation, ‖v‖ = 1, ‖x‖ = √16: mean of 24 draws."""
    widths = [DIM, *[width] * depth, 1]
    scales = [1 / math.sqrt(m) for m in widths[:-1]]
    model = WeightNormNetwork((DIM,), widths[1:], activation, scales)
    generator = torch.Generator().manual_seed(1000 * depth + width)
    parts = []
    for m, n in zip(widths[1:], widths, strict=False):
        w = (2 * torch.rand(DRAWS, m, n, generator=generator, dtype=torch.float64) - 1) / math.sqrt(n)
        parts.append(w / w.norm(dim=(1, 2), keepdim=True) if m == 1 else w)
    theta = torch.cat([w.flatten(1) for w in parts], 1)
    x = torch.randn(DRAWS, DIM, generator=generator, dtype=torch.float64)
    x = x * math.sqrt(DIM) / x.norm(dim=1, keepdim=True)
    operator = PredictorHessians(model, x, torch.ones(DRAWS, 1), theta)
    return spectral_norms(operator, generator, tolerance=5e-3).norms.mean().item()


SLOPES = [
    ("tanh", 1, -0.68, -0.45),
    ("softplus", 1, -0.60, -0.42),
    ("tanh", 3, -1.35, -1.08),
    ("softplus", 3, -0.80, -0.57),
]


@pytest.mark.parametrize(("activation", "depth", "low", "high"), SLOPES)
def test_width_slopes_at_initialisation(activation, depth, low, high):
    widths = [16, 32, 64, 128]
    slope = log_log_slope(widths, [mean_norm(activation, depth, width) for width in widths]).slope
    assert low <= slope <= high


def test_reduced_and_full_operators_agree(train):
    model = network(depth=3, activation="silu")
    directions = output_directions(train.labels[:3], NUM_OUTPUTS)
    reduced, floor = predictor_hessians(model, train.inputs[:3], directions)
    full = PredictorHessians(model, train.inputs[:3], directions)
    assert reduced.gradients.shape[1] < full.gradients.shape[1]
    norms = [
        spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=1e-10, residual_tolerance=1e-8).norms
        for operator in (reduced, full)
    ]
    torch.testing.assert_close(torch.maximum(norms[0], floor), norms[1], rtol=1e-8, atol=0)
    torch.testing.assert_close(reduced.values, full.values, rtol=1e-10, atol=0)
