"""What the tests of models share."""

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def randomize(generator):
    """Gives every parameter and running statistic of a network a value that no initial one has; float64."""

    def randomize(network):
        network.double()
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) * 0.4 + 0.1)
                tensor.mul_(1 if tensor.dim() == 1 else torch.randn(tensor.shape, generator=generator))
        return network

    return randomize


@pytest.fixture
def count():
    """The number of parameters, found without storage."""

    def count(model, input_shape, num_outputs):
        return sum(p.numel() for p in model.architecture(input_shape, num_outputs).parameters())

    return count
