import pytest
import torch

from boundcheck.models import Autoencoder
from boundcheck.models.dag_topology import paths

SHAPE, SIZE = (1, 8, 8), 64


@pytest.mark.parametrize("skips", ["none", "inside"])
@pytest.mark.parametrize("widths", [[24, 12], [10], [9, 8, 7]])
def test_everything_passes_through_the_code(skips, widths, generator):
    network = Autoencoder(6, widths, skips).build(SHAPE, SIZE, generator)
    assert network.widths == (64, *widths, 6, *reversed(widths), 64)
    assert network.code_layer == len(widths) + 1
    assert network.code_size == 6
    assert all(network.code_layer in path for path in paths(network.parents))
    inputs = torch.rand(5, *SHAPE, generator=generator)
    states = network.states(inputs)
    code = states[network.code_layer].detach()
    states = [None] * network.code_layer + [code]
    for layer in network.layers[network.code_layer :]:  # the decoder sees the code and nothing else
        states.append(layer(states))
    assert torch.equal(states[-1], network(inputs))


def test_numbers_of_parameters(count):
    dag = count(Autoencoder(6), SHAPE, SIZE)
    assert dag == 6526
    assert count(Autoencoder(6, skips="none"), SHAPE, SIZE) == 3934


@pytest.mark.parametrize("code", [2, 6, 16])
def test_the_matched_twin_is_the_widest_that_fits(code, count):
    dag = Autoencoder(code)
    twin = Autoencoder(code, skips="none", matched=True)
    budget, found = count(dag, SHAPE, SIZE), count(twin, SHAPE, SIZE)
    assert 0.95 * budget <= found <= budget
    widths = twin.architecture(SHAPE, SIZE).widths
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.05)
    wider = Autoencoder(code, [widths[1] + 1, round((widths[1] + 1) / 2)], skips="none")
    assert count(wider, SHAPE, SIZE) > budget


def test_what_has_skips_is_matched_to_nothing():
    with pytest.raises(ValueError, match=r"^matched: got True; allowed: True only with skips 'none'"):
        Autoencoder(2, skips="inside", matched=True)
