"""What is recorded of every step and of the curvature along it, and the loop that certifies a step size."""

import math

import pytest
import torch

from boundcheck.callbacks import CALLBACKS, curvature
from boundcheck.callbacks.a_priori import curvature_on_the_ball
from boundcheck.callbacks.curve import Curve
from boundcheck.methods import AdaptiveMomentumMethod, GradientDescentMethod, HeavyBallMethod, NesterovMethod
from boundcheck.models import Autoencoder
from boundcheck.models.stacking import stack, unstack
from boundcheck.objectives import Reconstruction, Square
from boundcheck.registry import build
from boundcheck.theory.dag_momentum.certificate import a_priori_curvature, ball_path_sums
from boundcheck.theory.dag_momentum.step import paper_step_limit, step_limit

K, SHAPE = 3, (1, 3, 2)


class Training:
    """A full-batch training of k small autoencoders, written out."""

    def __init__(self, method, num_seeds=K):
        nets = [
            Autoencoder(2, [4]).build(SHAPE, 6, torch.Generator().manual_seed(i)).double() for i in range(num_seeds)
        ]
        self.model = stack(nets) if num_seeds > 1 else nets[0]
        self.optimizer = method.optimizer(self.model, num_seeds)
        inputs = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        self.batch = inputs, inputs.flatten(1)
        self.objective = Reconstruction()
        self.curve = Curve(list(range(num_seeds)))
        self.start = [p.detach().clone() for p in self.model.parameters()]
        self.first_steps = torch.zeros(num_seeds, dtype=torch.int64)
        self.step = 0

    @property
    def epoch(self):
        return float(self.step)

    @property
    def steps_since_restart(self):
        return self.step - self.first_steps

    def evaluate(self, split):
        return self.losses + (0 if split == "train" else 1), None

    def loss(self, theta, place):
        """E of one slice at a flat θ (p,)."""
        net = (unstack(self.model) if len(self.first_steps) > 1 else [self.model])[place]
        named, start = {}, 0
        for name, p in net.named_parameters():
            named[name] = theta[start : start + p.numel()].view(p.shape)
            start += p.numel()
        outputs = torch.func.functional_call(net, named, (self.batch[0],))
        return self.objective.losses(outputs, self.batch[1])

    def theta(self):
        return torch.cat([p.detach().reshape(len(self.first_steps), -1) for p in self.model.parameters()], dim=1)

    def closure(self):
        self.optimizer.zero_grad()
        losses = self.objective.losses(self.model(self.batch[0]), self.batch[1]).reshape(-1)
        losses.sum().backward()
        self.losses = losses.detach()
        return losses.sum()

    @torch.no_grad()
    def restart(self, rates):
        where = ~rates.isnan()
        for p, start in zip(self.model.parameters(), self.start, strict=True):
            chosen = where if len(where) > 1 else ...
            p[chosen] = start[chosen]
            self.optimizer.state[p]["velocity"][chosen] = 0.0
        group = self.optimizer.param_groups[0]
        old = torch.as_tensor(group["lr"]).expand(len(where)).to(rates)
        group["lr"] = torch.where(where, rates, old)
        self.first_steps[where] = self.step + 1

    def run(self, callback, num_steps):
        for _ in range(num_steps):
            self.optimizer.step(self.closure)
            if (asked := callback.on_step(self)) is not None:
                self.restart(asked.lr)
            self.step += 1

    def rows(self):
        columns = self.curve.columns([None] * len(self.first_steps))
        keys = zip(columns["quantity"], columns["step"], columns["seed"], strict=True)
        return dict(zip(keys, columns["value"], strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_those_of_the_step(decay):
    training = Training(AdaptiveMomentumMethod(0.3, 0.6, weight_decay=decay))
    callback = build(CALLBACKS, {"kind": "updates"})
    thetas = [training.theta()]
    for _ in range(3):
        training.run(callback, 1)
        thetas.append(training.theta())
    rows, paths = training.rows(), [0.0] * K
    for step in range(3):
        for seed in range(K):
            theta = thetas[step][seed].clone().requires_grad_()
            E = training.loss(theta, seed) + decay / 2 * theta.square().sum()
            (g,) = torch.autograd.grad(E, theta)
            d = thetas[step + 1][seed] - thetas[step][seed]
            last = thetas[step][seed] - thetas[step - 1][seed] if step else torch.zeros_like(d)
            paths[seed] += d.norm().item()
            expected = {
                "effective_momentum": ((d + 0.3 * g) @ last / last.square().sum()).item() if step else 0.0,
                "path_length": paths[seed],
                "objective": E.item(),
                "gradient_norm": g.norm().item(),
                "update_norm": d.norm().item(),
                "descent_cosine": (-(g @ d) / (g.norm() * d.norm())).item(),
                "lr": 0.3,
            }
            if decay:
                expected["parameter_norm"] = theta.norm().item()
            for name, value in expected.items():
                assert rows[name, step, seed] == pytest.approx(value, rel=1e-11), name
    assert (("parameter_norm", 0, 0) in rows) == bool(decay)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (AdaptiveMomentumMethod(0.3, 0.6, block="layer"), None),
        (AdaptiveMomentumMethod(0.3, 0.6, block="edge"), None),
        (GradientDescentMethod(0.3), 0.0),
        (HeavyBallMethod(0.3, 0.8), 0.8),
        (NesterovMethod(0.3, 0.7), 0.7),
    ],
    ids=["layers", "edges", "gradient descent", "heavy ball", "nesterov"],
)
def test_the_effective_momentum_of_every_method(method, expected):
    training = Training(method)
    callback = build(CALLBACKS, {"kind": "updates"})
    for step in range(4):
        before = None if training.optimizer.update is None else training.optimizer.update.clone()
        training.run(callback, 1)
        found = [training.rows()["effective_momentum", step, seed] for seed in range(K)]
        if before is None:
            assert found == [0.0] * K
        elif expected is not None:
            assert found == pytest.approx([expected] * K)
        else:  # blocks: what is left of the step when −ηg is taken away, beside the last step
            kept = training.optimizer.update + 0.3 * training.optimizer.gradient
            assert found == pytest.approx((kept.norm(dim=1) / before.norm(dim=1)).tolist(), rel=1e-9)


def test_a_seed_that_starts_again_has_no_path_and_no_momentum():
    training = Training(AdaptiveMomentumMethod(0.3, 0.6))
    callback = build(CALLBACKS, {"kind": "updates"})
    training.run(callback, 3)
    training.restart(torch.tensor([math.nan, 0.2, math.nan], dtype=torch.float64))
    training.first_steps[1] = training.step
    training.run(callback, 2)
    rows = training.rows()
    for seed in range(K):
        first = 3 if seed == 1 else 0
        lengths = [rows["update_norm", step, seed] for step in range(first, 5)]
        assert rows["path_length", 4, seed] == pytest.approx(math.fsum(lengths), rel=1e-12)
        assert (rows["effective_momentum", 3, seed] == 0) == (seed == 1)


def test_updates_go_on_where_they_were():
    whole, resumed = (Training(AdaptiveMomentumMethod(0.3, 0.5)) for _ in range(2))
    whole.run(build(CALLBACKS, {"kind": "updates"}), 6)
    callback = build(CALLBACKS, {"kind": "updates"})
    assert callback.state_dict() == {}
    resumed.run(callback, 4)
    again = build(CALLBACKS, {"kind": "updates"})
    again.load_state_dict(callback.state_dict())
    resumed.run(again, 2)
    assert whole.rows() == resumed.rows()


def test_updates_want_an_optimizer_that_keeps_them():
    training = Training(AdaptiveMomentumMethod(0.3))
    training.optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="updates needs an optimizer"):
        build(CALLBACKS, {"kind": "updates"}).on_step(training)


def test_split_losses():
    training = Training(AdaptiveMomentumMethod(0.3))
    training.closure()
    build(CALLBACKS, {"kind": "split_loss"}).on_epoch(training)
    rows = training.rows()
    assert rows["test_loss", 0, 1] == rows["full_train_loss", 0, 1] + 1 == training.losses[1].item() + 1


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_curvature_is_that_of_dense_hessians_along_the_step(num_seeds, decay):
    training = Training(AdaptiveMomentumMethod(0.5, 0.6, weight_decay=decay), num_seeds)
    callback = build(CALLBACKS, {"kind": "curvature", "every": 0, "window": 3, "num_products": 62})
    thetas = [training.theta()]
    for _ in range(4):
        training.run(callback, 1)
        thetas.append(training.theta())
    rows = training.rows()
    assert {step for _, step, _ in rows} == {0, 1, 2}
    for step in (0, 2):
        for seed in range(num_seeds):
            ends = thetas[step][seed], thetas[step + 1][seed]
            spectra = [
                torch.linalg.eigvalsh(
                    torch.autograd.functional.hessian(lambda t, i=seed: training.loss(t, i), theta, vectorize=True)
                )
                for theta in (ends[0], (ends[0] + ends[1]) / 2, ends[1])
            ]
            expected = max(float(values[-1]) for values in spectra) + decay
            assert rows["local_curvature", step, seed] == pytest.approx(expected, rel=1e-6)
            assert rows["sharpness", step, seed] == pytest.approx(float(spectra[0][-1]) + decay, rel=1e-6)
            least = min(float(values[0]) for values in spectra) + decay
            assert rows["lowest_curvature", step, seed] == pytest.approx(least, rel=1e-5, abs=1e-8)


def test_a_seed_that_stands_still_is_not_measured_again():
    callback = build(CALLBACKS, {"kind": "curvature", "every": 5, "window": 1})
    asked = [[4, 20], [5, 20], [6, 20], [7, 20], [0, 20], [0, 20], [1, 20], [5, 20]]
    assert [callback.is_due(torch.tensor(steps)) for steps in asked] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_few_products_with_a_warm_start_are_enough():
    rows = {}
    for num_products in (12, 62):
        training = Training(AdaptiveMomentumMethod(0.5, 0.6))
        training.run(build(CALLBACKS, {"kind": "curvature", "every": 5, "window": 2, "num_products": num_products}), 16)
        rows[num_products] = {key: value for key, value in training.rows().items() if key[0] != "lowest_curvature"}
    assert {step for _, step, _ in rows[12]} == {0, 1, *range(5, 16, 5)}
    for key, value in rows[62].items():
        assert rows[12][key] == pytest.approx(value, rel=2e-3), key


@pytest.mark.parametrize(("rule", "limit"), [("sharp", step_limit), ("paper", paper_step_limit)])
def test_a_certificate_sets_the_step_size_and_lowers_it_until_the_premise_holds(rule, limit):
    training = Training(AdaptiveMomentumMethod(1e-3, 0.5))
    settings = {"kind": "certificate", "rule": rule, "fraction": 0.9, "margin": 1.0, "every": 4, "window": 3}
    callback = build(CALLBACKS, {**settings, "growth": 1.3, "num_products": 12})
    training.run(callback, 1)
    first = training.rows()
    assert callback.restarts
    for seed in range(K):
        rate = training.optimizer.param_groups[0]["lr"][seed].item()
        assert rate == pytest.approx(0.9 * float(limit(first["sharpness", 0, seed], 0.5)), rel=1e-9)
    torch.testing.assert_close(training.theta(), torch.cat([p.reshape(K, -1) for p in training.start], dim=1))
    training.run(callback, 60)
    assert (training.steps_since_restart < 60).any()  # the curvature did exceed the first L̂
    while (training.steps_since_restart < 3).any():
        training.run(callback, 1)
    rows = training.rows()
    for seed in range(K):
        since = training.first_steps[seed].item()
        assumed = callback._assumed[seed].item()
        measured = [
            value
            for (name, step, s), value in rows.items()
            if name == "local_curvature" and s == seed and step >= since
        ]
        assert measured
        assert max(measured) <= assumed
        rate = training.optimizer.param_groups[0]["lr"][seed].item()
        assert rate == pytest.approx(0.9 * float(limit(assumed, 0.5)), rel=1e-9)


@pytest.mark.parametrize(("rule", "expected"), [("heavy_ball", lambda L: 2 * 0.2 / L), ("inverse", lambda L: 1 / L)])
def test_the_other_rules(rule, expected):
    training = Training(HeavyBallMethod(1e-3, 0.8))
    training.run(build(CALLBACKS, {"kind": "certificate", "rule": rule, "fraction": 0.5, "margin": 2.0}), 1)
    sharpness = training.rows()["sharpness", 0, 0]
    found = training.optimizer.param_groups[0]["lr"][0].item()
    assert found == pytest.approx(0.5 * expected(2 * sharpness), rel=1e-9)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_the_a_priori_rule_bounds_the_curvature_before_the_first_step(num_seeds):
    decay = 0.3
    training = Training(AdaptiveMomentumMethod(1e-3, 0.5, weight_decay=decay), num_seeds)
    objectives = [(training.loss(t, i) + decay / 2 * t.square().sum()).item() for i, t in enumerate(training.theta())]
    settings = {"kind": "certificate", "rule": "a_priori", "fraction": 0.9, "every": 1, "margin": 1e9, "growth": 1e9}
    callback = build(CALLBACKS, settings)
    training.run(callback, 1)
    net = (unstack(training.model) if num_seeds > 1 else [training.model])[0]
    norms = training.batch[0].flatten(1).norm(dim=1).numpy()
    for seed, E in enumerate(objectives):
        sums = ball_path_sums(net.widths, net.parents, net.activations, norms, math.sqrt(2 * E / decay))
        expected = float(a_priori_curvature(sums, E, decay, 1 / 5))
        assert callback._assumed[seed].item() == pytest.approx(expected, rel=1e-12)
        rates = torch.as_tensor(training.optimizer.param_groups[0]["lr"]).reshape(-1)
        assert rates[seed].item() == pytest.approx(0.9 * float(step_limit(expected, 0.5)), rel=1e-12)
    training.run(callback, 20)
    assert training.steps_since_restart.tolist() == [20] * num_seeds  # nothing that is measured restarts it
    rows = training.rows()
    for seed in range(num_seeds):
        measured = [value for (name, _, s), value in rows.items() if name == "local_curvature" and s == seed]
        assert max(measured) <= rows["assumed_curvature", 5, seed]


def test_a_curvature_above_its_a_priori_bound_is_recorded_and_mended_by_nothing(monkeypatch):
    """It would refute the theorem; a new start would hide it."""
    monkeypatch.setattr(curvature, "curvature_on_the_ball", lambda training: torch.full((K,), 1e-2))
    training = Training(AdaptiveMomentumMethod(1e-3, 0.5, weight_decay=0.3))
    callback = build(CALLBACKS, {"kind": "certificate", "rule": "a_priori", "every": 1})
    training.run(callback, 4)
    rows = training.rows()
    assert training.steps_since_restart.tolist() == [3] * K
    assert rows["local_curvature", 2, 0] > rows["assumed_curvature", 2, 0] == pytest.approx(1e-2)


def test_the_a_priori_rule_says_what_it_wants():
    with pytest.raises(ValueError, match=r"weight_decay: got 0.0; allowed with rule a_priori: > 0"):
        Training(AdaptiveMomentumMethod(0.1)).run(build(CALLBACKS, {"kind": "certificate", "rule": "a_priori"}), 1)
    training = Training(AdaptiveMomentumMethod(0.1, weight_decay=0.1))
    training.optimizer.step(training.closure)
    training.objective = Square()
    with pytest.raises(ValueError, match="loss: got Square; allowed with rule a_priori: reconstruction"):
        curvature_on_the_ball(training)
    training.model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="model: got Linear; allowed with rule a_priori: dag_net, autoencoder"):
        curvature_on_the_ball(training)


def test_a_state_goes_on_where_it_was():
    settings = {"kind": "certificate", "every": 2, "window": 1, "margin": 1.0, "num_products": 4}
    whole, resumed = (Training(AdaptiveMomentumMethod(1e-3, 0.5)) for _ in range(2))
    whole.run(build(CALLBACKS, settings), 12)
    callback = build(CALLBACKS, settings)
    assert callback.state_dict() == {}
    resumed.run(callback, 7)
    again = build(CALLBACKS, settings)
    again.load_state_dict(callback.state_dict())
    resumed.run(again, 5)
    assert whole.rows() == resumed.rows()


def test_a_seed_that_diverged_leaves_the_others_alone():
    rows = []
    for broken in (False, True):
        training = Training(AdaptiveMomentumMethod(0.3))
        callback = build(CALLBACKS, {"kind": "curvature", "every": 1})
        training.run(callback, 2)
        if broken:
            training.model.layers[0].from_0.data[1] = math.nan
        training.run(callback, 2)
        rows.append(training.rows())
    for key, value in rows[0].items():
        if key[2] != 1:
            assert rows[1][key] == pytest.approx(value, rel=1e-12)
    assert math.isnan(rows[1]["local_curvature", 3, 1])
