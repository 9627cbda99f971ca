import pytest
import torch
import torch.nn.functional as F

from boundcheck.contracts import Split
from boundcheck.objectives import accuracy, build_objective
from boundcheck.settings import TrainingSettings


@pytest.fixture
def stack():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (3, 7), generator=generator)
    return outputs, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_a_stack_is_torchs_per_slice(stack, smoothing):
    outputs, labels = stack
    objective = build_objective(TrainingSettings(loss="cross_entropy", label_smoothing=smoothing))
    expected = [F.cross_entropy(o, y, label_smoothing=smoothing) for o, y in zip(outputs, labels, strict=True)]
    torch.testing.assert_close(objective.losses(outputs, labels), torch.stack(expected), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(objective.losses(outputs[0], labels[0]), expected[0], rtol=0, atol=0)
    shared = objective.losses(outputs, labels[0])
    torch.testing.assert_close(shared[2], F.cross_entropy(outputs[2], labels[0], label_smoothing=smoothing))


def test_square_loss_on_classes_and_on_signs(stack):
    outputs, labels = stack
    objective = build_objective(TrainingSettings(loss="square"))
    expected = ((outputs[1] - torch.eye(5, dtype=torch.float64)[labels[1]]) ** 2).sum() / 7
    torch.testing.assert_close(objective.losses(outputs, labels)[1], expected)
    signs = torch.tensor([0, 1])
    assert objective.losses(torch.tensor([[1.0], [1.0]]), signs).item() == pytest.approx((2**2 + 0) / 2)


def test_reconstruction_aims_at_the_inputs():
    objective = build_objective(TrainingSettings(loss="reconstruction"))
    inputs = torch.arange(8.0).reshape(2, 1, 2, 2)
    targets = objective.targets(Split(inputs, torch.zeros(2)))
    assert objective.losses(targets + 1, targets).item() == pytest.approx(4 / 2)


@pytest.mark.parametrize("weight", [0.0, 0.25])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_is_torchs_divergence_and_the_teachers_entropy(stack, temperature, weight):
    """KL(p‖q) + H(p) per slice; a stack of teachers' targets, or one that all seeds share."""
    outputs, labels = stack
    generator = torch.Generator().manual_seed(1)
    taught = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    weights = {"label_weight": weight} if weight else {}
    settings = {**TAUGHT, "temperature": temperature} | weights
    asked = []
    objective = build_objective(
        TrainingSettings(**settings), lambda x: asked.append(x) or taught.flatten(0, 1)[x.flatten().long()]
    )
    rows = torch.arange(21.0).view(3, 7, 1)
    targets = objective.targets(Split(rows, labels))
    expected = []
    for f, t, y in zip(outputs, taught, labels, strict=True):
        p = F.softmax(t / temperature, -1)
        soft = F.kl_div(F.log_softmax(f / temperature, -1), p, reduction="batchmean") - (p * p.log()).sum(-1).mean()
        expected.append((1 - weight) * temperature**2 * soft + weight * F.cross_entropy(f, y))
    torch.testing.assert_close(objective.losses(outputs, targets), torch.stack(expected), rtol=1e-12, atol=0)
    torch.testing.assert_close(objective.losses(outputs[1], targets[1]), expected[1], rtol=1e-12, atol=0)
    alone = objective.targets(Split(rows[1], labels[1]))
    assert torch.equal(alone, targets[1])
    shared = objective.losses(outputs, alone)
    torch.testing.assert_close(shared[1], expected[1], rtol=1e-12, atol=0)
    assert shared.shape == (3,)
    assert [x.shape for x in asked] == [(21, 1), (7, 1)]


def test_the_teachers_distribution_is_learnt_best_by_itself(stack):
    outputs, labels = stack
    objective = build_objective(TrainingSettings(**TAUGHT), lambda x: outputs[0])
    targets = objective.targets(Split(torch.zeros(7, 1), labels[0]))
    student = outputs[0].clone().requires_grad_()
    objective.losses(student, targets).backward()
    assert student.grad.abs().max() < 1e-15
    assert objective.losses(outputs[1], targets) > objective.losses(outputs[0], targets)


TAUGHT = {"loss": "distillation", "teacher": {"name": "t"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "distillation"}, "teacher: loss distillation needs one; allowed: a name in datasets"),
        ({**TAUGHT, "temperature": 0}, "temperature: got 0; allowed: a number > 0"),
        ({**TAUGHT, "label_weight": 1}, r"label_weight: got 1; allowed: a number in \[0, 1\)"),
        ({**TAUGHT, "label_smoothing": 0.1}, "label_smoothing: got 0.1; it has no effect with loss"),
        ({"loss": "cross_entropy", "teacher": {"name": "t"}}, "teacher: got {'name': 't'}; it has no effect with loss"),
        ({"loss": "square", "temperature": 2.0}, "temperature: got 2.0; it has no effect with loss 'square'"),
    ],
)
def test_settings_of_distillation_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        build_objective(TrainingSettings(**settings))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="allowed: one of cross_entropy"):
        TrainingSettings(loss="hinge")
    with pytest.raises(ValueError, match="label_smoothing"):
        build_objective(TrainingSettings(loss="square", label_smoothing=0.1))


def test_accuracy(stack):
    outputs, labels = stack
    expected = [(o.argmax(1) == y).double().mean() for o, y in zip(outputs, labels, strict=True)]
    assert accuracy(outputs, labels).tolist() == [e.item() for e in expected]
    assert accuracy(torch.tensor([[-1.0], [0.0]]), torch.tensor([0, 1])).item() == 1.0
