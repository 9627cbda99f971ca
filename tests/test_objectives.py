import pytest
import torch
import torch.nn.functional as F

from boundcheck.contracts import Split
from boundcheck.objectives import accuracy, build_objective


@pytest.fixture
def stack():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (3, 7), generator=generator)
    return outputs, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_a_stack_is_torchs_per_slice(stack, smoothing):
    outputs, labels = stack
    objective = build_objective({"loss": "cross_entropy", "label_smoothing": smoothing})
    expected = [F.cross_entropy(o, y, label_smoothing=smoothing) for o, y in zip(outputs, labels, strict=True)]
    torch.testing.assert_close(objective.losses(outputs, labels), torch.stack(expected), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(objective.losses(outputs[0], labels[0]), expected[0], rtol=0, atol=0)
    shared = objective.losses(outputs, labels[0])
    torch.testing.assert_close(shared[2], F.cross_entropy(outputs[2], labels[0], label_smoothing=smoothing))


def test_square_loss_on_classes_and_on_signs(stack):
    outputs, labels = stack
    objective = build_objective({"loss": "square"})
    expected = ((outputs[1] - torch.eye(5, dtype=torch.float64)[labels[1]]) ** 2).sum() / 7
    torch.testing.assert_close(objective.losses(outputs, labels)[1], expected)
    signs = torch.tensor([0, 1])
    assert objective.losses(torch.tensor([[1.0], [1.0]]), signs).item() == pytest.approx((2**2 + 0) / 2)


def test_reconstruction_aims_at_the_inputs():
    objective = build_objective({"loss": "reconstruction"})
    inputs = torch.arange(8.0).reshape(2, 1, 2, 2)
    targets = objective.targets(Split(inputs, torch.zeros(2)))
    assert objective.losses(targets + 1, targets).item() == pytest.approx(4 / 2)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="allowed: cross_entropy"):
        build_objective({"loss": "hinge"})
    with pytest.raises(ValueError, match="label_smoothing"):
        build_objective({"loss": "square", "label_smoothing": 0.1})


def test_accuracy(stack):
    outputs, labels = stack
    expected = [(o.argmax(1) == y).double().mean() for o, y in zip(outputs, labels, strict=True)]
    assert accuracy(outputs, labels).tolist() == [e.item() for e in expected]
    assert accuracy(torch.tensor([[-1.0], [0.0]]), torch.tensor([0, 1])).item() == 1.0
