"""Vision transformers against published sizes, torchvision, and each other's attention."""

import pytest
import torch
from torch.func import functional_call, jvp

from boundcheck.models import ViT

IMAGENET = (3, 224, 224)
SMALL = {"patch": 7, "dim": 12, "depth": 2, "heads": 3, "zero_head": False}
NAMES = {  # ours -> torchvision's
    "class_token": "class_token",
    "patches": "conv_proj",
    "encoder.": "encoder.layers.encoder_layer_",
    "positions": "encoder.pos_embedding",
    "norm_": "ln_",
    "attention.qkv.": "self_attention.in_proj_",
    "attention.out": "self_attention.out_proj",
    "mlp.2": "mlp.3",
    "head": "heads.head",
}


def name_in_torchvision(name):
    if name.startswith("norm."):
        return name.replace("norm", "encoder.ln")
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize(
    ("size", "patch", "parameters"),
    [("b", 16, 86_567_656), ("b", 32, 88_224_232), ("s", 16, 22_050_664), ("ti", 16, 5_717_416)],
)
def test_number_of_parameters(size, patch, parameters, count):
    assert count(ViT(patch, size), IMAGENET, 1000) == parameters


def test_it_is_that_of_torchvision(generator, randomize):
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.VisionTransformer(28, 7, 2, 3, 12, 48, num_classes=5).double()
    ours = randomize(ViT(**SMALL).build((3, 28, 28), 5, generator))
    theirs.load_state_dict({name_in_torchvision(name): tensor for name, tensor in ours.state_dict().items()})
    images = torch.randn(4, 3, 28, 28, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-11, atol=1e-11)


def test_initial_values_are_spread_as_those_of_torchvision(generator):
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torchvision.models.VisionTransformer(28, 7, 2, 3, 192, 768, num_classes=5).state_dict()
    ours = ViT(patch=7, dim=192, depth=2, heads=3).build((3, 28, 28), 5, generator).state_dict()
    assert {name_in_torchvision(name) for name in ours} == set(theirs)
    for name, tensor in ours.items():
        reference = theirs[name_in_torchvision(name)]
        assert tensor.shape == reference.shape
        assert tensor.std() == pytest.approx(reference.std().item(), rel=0.15 if tensor.dim() == 1 else 0.05), name
        assert tensor.abs().max() == pytest.approx(reference.abs().max().item(), rel=0.4), name


@pytest.mark.parametrize("zero_head", [True, False])
def test_the_head_starts_at_zero_on_request(zero_head, generator):
    network = ViT(**SMALL | {"zero_head": zero_head}).build((1, 14, 14), 5, generator)
    assert network(torch.randn(2, 1, 14, 14, generator=generator)).any() != zero_head


def test_fused_attention_computes_the_same(generator):
    images = torch.randn(3, 1, 14, 21, generator=generator, dtype=torch.float64)
    explicit = ViT(**SMALL).build((1, 14, 21), 5, generator).double()
    fused = ViT(**SMALL | {"attention": "fused"}).build((1, 14, 21), 5, generator).double()
    fused.load_state_dict(explicit.state_dict())
    torch.testing.assert_close(fused(images), explicit(images), rtol=1e-11, atol=1e-11)
    for network in (explicit, fused):
        network(images).square().sum().backward()
    for a, b in zip(fused.parameters(), explicit.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # of torch itself
def test_forward_derivatives_exist_without_a_graph(generator):
    network = ViT(**SMALL).build((1, 14, 14), 5, generator).double().eval()
    images = torch.randn(2, 1, 14, 14, generator=generator, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    tangents = {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in parameters.items()}

    def outputs(parameters):
        return functional_call(network, parameters, (images,))

    with torch.no_grad():
        _, derivative = jvp(outputs, (parameters,), (tangents,))
        up, down = (outputs({n: p + s * tangents[n] for n, p in parameters.items()}) for s in (1e-6, -1e-6))
    torch.testing.assert_close(derivative, (up - down) / 2e-6, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"size": "s"}, "size"),
        ({"dim": None}, "dim"),
        ({"heads": 5}, "heads"),
    ],
)
def test_settings_without_meaning_are_rejected(settings, field):
    with pytest.raises(ValueError, match=f"^{field}: got .*; allowed: "):
        ViT(**SMALL | settings)


@pytest.mark.parametrize("input_shape", [(784,), (1, 28, 30)])
def test_images_that_cannot_be_cut_are_rejected(input_shape):
    with pytest.raises(ValueError, match=r"^input_shape: got .*; allowed: "):
        ViT(**SMALL).architecture(input_shape, 10)
