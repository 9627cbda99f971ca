import numpy as np
import pandas as pd
import pytest

from boundcheck.claims.gam import convergence as gam_convergence
from boundcheck.claims.gam.convergence import GAMConverges
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN
from boundcheck.theory.gam.convergence import convergence_bound
from boundcheck.theory.gam.directions import gam_direction

CELL = ("d", "m", "gam_plain")
BASE = {"kind": "sgd", "lr": 0.02}
METHOD = {"kind": "gam", "rho": 0.1, "alpha": 0.3, "rho_min": 0.0, "base": BASE}
TRAINING = {"batch_size": "full", "lr_schedule": "inverse_sqrt", "warmup_epochs": 0}
HESSIAN = np.diag([10.0, 3.0, 0.5])


def descent(num_steps=200, scale=1.0):
    """Losses and gradient norms of GAM on ½ xᵀHx with η_t = η₀/√t, ρ_t = ρ₀/√t."""
    x, losses, norms = scale * np.array([1.0, 1.0, 1.0]), [], []
    for t in range(1, num_steps + 1):
        gradient = HESSIAN @ x
        losses.append(0.5 * x @ gradient)
        norms.append(np.linalg.norm(gradient))
        x = x - BASE["lr"] / t**0.5 * gam_direction(HESSIAN, gradient, METHOD["rho"] / t**0.5, METHOD["alpha"])
    return np.array(losses), np.array(norms)


def tables_of(make_tables, norms, losses, method=METHOD, training=TRAINING, smoothness=10.0):
    tables = make_tables(
        {CELL: {0: 1.0}},
        measurements=[(*CELL, 0, 0, 0.0, "spectral_norm", -1, NAN, smoothness, 0.0, "spectrum")],
    )
    rows = [
        (*CELL, 0, step, float(step), name, -1, NAN, value, NAN)
        for name, values in (("gradient_norm", norms), ("train_loss", losses))
        for step, value in enumerate(values)
    ]
    runs = tables.runs.assign(method_spec=[method], training=[training])
    return tables._replace(curves=pd.DataFrame(rows, columns=tables.curves.columns), runs=runs)


def decision(tables):
    checks = GAMConverges().rows(tables).assign(check="c")
    return TheoremHolds(check="c").decide(tables._replace(checks=checks)).decision


def test_it_holds_on_a_quadratic_and_the_bound_is_the_theorys(make_tables):
    losses, norms = descent()
    tables = tables_of(make_tables, norms, losses)
    rows = GAMConverges().rows(tables)
    assert rows["premise_holds"].all()
    assert rows["holds"].all()
    last = rows.iloc[-1]
    expected = convergence_bound(
        200, initial_gap=losses[0], lr=0.02, alpha=0.3, rho=0.1, gradient_lipschitz=10.0, gradient_noise=0.0
    )
    assert last["bound"] == pytest.approx(float(expected), rel=1e-12)
    assert last["measured"] == pytest.approx(np.mean(norms**2), rel=1e-12)
    assert decision(tables) == "supported"


def test_the_bound_divided_by_its_tightness_is_violated(make_tables, monkeypatch):
    losses, norms = descent()
    tables = tables_of(make_tables, norms, losses)
    tightness = GAMConverges().rows(tables)["tightness"].min()
    monkeypatch.setattr(
        gam_convergence, "convergence_bound", lambda *a, **k: convergence_bound(*a, **k) / (1.1 * tightness)
    )
    assert decision(tables) == "contradicted"


def test_a_step_that_is_too_long_fails_the_premise(make_tables):
    losses, norms = descent()
    assert decision(tables_of(make_tables, norms, losses, smoothness=13.0)) == "vacuous"


@pytest.mark.parametrize(
    ("method", "training"),
    [
        ({"base": {**BASE, "momentum": 0.9}}, {}),
        ({"form": "finite_difference", "radius": 0.02}, {}),
        ({"rho_min": None}, {}),
        ({"oracle": "sam", "oracle_rho": 0.05}, {}),
        ({}, {"batch_size": 64}),
        ({}, {"lr_schedule": "constant"}),
    ],
)
def test_other_trainings_have_no_rows(make_tables, method, training):
    losses, norms = descent(10)
    tables = tables_of(make_tables, norms, losses, {**METHOD, **method}, {**TRAINING, **training})
    assert len(GAMConverges().rows(tables)) == 0
