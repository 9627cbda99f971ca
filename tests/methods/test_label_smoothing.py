"""The authors' label smoothing gives s/(K−1) to each wrong class; ours s/K to each class. The gradients agree."""

from __future__ import annotations

import math

import pytest
import torch

from boundcheck.objectives import CrossEntropy


@pytest.mark.parametrize(("num_classes", "value"), [(10, 0.5448), (100, 0.7846)])
def test_authors_smoothing_is_cross_entropy_with_another_number(num_classes, value):
    smoothing = 0.1
    outputs = torch.randn(6, num_classes, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(num_classes, (6,))
    target = torch.full((6, num_classes), smoothing / (num_classes - 1), dtype=torch.float64)
    target[torch.arange(6), labels] = 1 - smoothing
    authors = (target * (target.log() - outputs.log_softmax(-1))).sum(-1).mean()
    ours = CrossEntropy(smoothing * num_classes / (num_classes - 1)).losses(outputs, labels)
    gradients = [torch.autograd.grad(loss, outputs)[0] for loss in (authors, ours)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-15)
    entropy = -(1 - smoothing) * math.log(1 - smoothing) - smoothing * math.log(smoothing / (num_classes - 1))
    assert entropy == pytest.approx(value, abs=5e-5)
    assert (ours - authors).item() == pytest.approx(entropy, abs=1e-12)
