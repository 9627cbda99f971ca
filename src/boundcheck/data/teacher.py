"""Teachers for distillation: trained networks of torchvision, whose weights are fetched like a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from boundcheck.atomic_files import replacing
from boundcheck.contracts import Splits
from boundcheck.data.arrays import FILE_NAME
from boundcheck.data.errors import DataError, explained, require
from boundcheck.data.transfer import download, locked
from boundcheck.manifests import remedy
from boundcheck.settings import Positive, Width, settings

SIZE_MARGIN = 1.5  # torchvision gives the size of its files in megabytes, rounded
DAMAGE = (SafetensorError, OSError, KeyError, ValueError)


@settings
class Teacher:
    """A trained network of torchvision, named in `training.teacher`. Its classes have the order of the dataset's.

    It has no examples. Its weights are fetched once into one safetensors file; the trainings that read it do not need
    the internet. The sha256 of a download, new or kept, must begin as its name says; torch reads it as weights only,
    which runs no code. Downloads are kept in `downloads/teacher/`; you can also put them there yourself. The classes
    of ImageNet are ordered by the names of their folders, both in torchvision's weights and here.

    Args:
        model: torchvision's name of a classifier, such as `resnet34`.
        weights: torchvision's name of its weights, such as `IMAGENET1K_V1`.
        path: a safetensors file with a state of the model, instead of `weights`.
        num_classes: number of outputs of the network at `path`.
        mean: mean of each channel, if the network at `path` was trained on (u − mean)/std, u an image in [0, 1]; by
            default it gets the same inputs as the student.
        std: standard deviation of each channel, with `mean`.
    """

    model: str
    weights: str | None = None
    path: str | None = None
    num_classes: Width | None = None
    mean: Sequence[float] | None = None
    std: Sequence[Positive] | None = None

    def __post_init__(self) -> None:
        from torchvision import models as zoo

        require(self.model in zoo.list_models(module=zoo), "model", self.model, "a classifier of torchvision")
        require((self.weights is None) != (self.path is None), "weights", self.weights, "these or a path, one of them")
        if self.weights is not None:
            known = [entry.name for entry in zoo.get_model_weights(self.model)]
            require(self.weights in known, "weights", self.weights, ", ".join(known))
            for name in ("num_classes", "mean", "std"):
                require(getattr(self, name) is None, name, getattr(self, name), "none, the weights say it themselves")
        else:
            given = self.num_classes is not None
            require(given, "num_classes", self.num_classes, "a whole number >= 1")
            both = (self.mean is None) == (self.std is None) and len(self.mean or ()) == len(self.std or ())
            require(both, "std", self.std, "as many numbers as `mean`")

    def fetch(self, root: Path) -> None:
        """Download or read the weights, check that they fit the model, and write them into `root`."""
        state = {
            name: tensor.contiguous() for name, tensor in self._source(root.parent / "downloads" / "teacher").items()
        }
        self._network(state)
        with replacing(root / FILE_NAME) as temporary:
            save_file(state, temporary, {"sha256": _digest(state)})

    def load(self, root: Path) -> Splits:
        """Always fails: a teacher has no examples.

        Raises:
            DataError: always.
        """
        raise DataError(f"{root}: {self.model} is a teacher without examples; name it in `training.teacher`")

    def function(
        self, file: Path, splits: Splits, normalise: str, device: torch.device | str, dtype: torch.dtype
    ) -> Callable[[Tensor], Tensor]:
        """The fetched network as a function of the student's inputs: (n, *input_shape) -> (n, K), in evaluation mode.

        It changes the inputs from the student's normalisation to the teacher's. A grey image is used for all channels.

        Args:
            file: the file that `fetch` wrote.
            splits: the student's examples.
            normalise: how the student's inputs are normalised.
            device: the device of the inputs.
            dtype: the dtype of the inputs.

        Raises:
            DataError: the file is missing or altered, the network cannot take the inputs, or it has other classes.
            ValueError: the student's normalisation cannot be undone.
        """
        network = self._network(_read(file)).to(device, dtype)
        gain, shift = (part.to(device, dtype) for part in self._change(splits, normalise))

        def outputs(inputs: Tensor) -> Tensor:
            return network(inputs * gain + shift)

        subject = f"the teacher {self.model} on inputs of shape {tuple(splits.input_shape)}"
        with torch.no_grad(), explained(subject, "take another teacher, or another size of the images", RuntimeError):
            num_outputs = outputs(torch.zeros(1, *splits.input_shape, device=device, dtype=dtype)).shape[-1]
        if num_outputs != splits.num_classes:
            message = f"the teacher {self.model} has {num_outputs} classes, the dataset has {splits.num_classes}"
            raise DataError(f"{message}; both need the same classes")
        return outputs

    def _source(self, folder: Path) -> Mapping[str, Tensor]:
        if self.path is not None:
            with explained(self.path, "give the safetensors file of the model's state", *DAMAGE):
                return load_file(Path(self.path).expanduser())
        advice = f"check the network, or put torchvision's file into {folder} yourself"
        with locked(folder), explained(f"{self.model} {self.weights}", advice, Exception):
            entry = self._entry()
            name = entry.url.rpartition("/")[2]
            digits = name.rpartition("-")[2].partition(".")[0]  # torchvision puts them into the name
            most = int(SIZE_MARGIN * entry.meta["_file_size"] * 2**20)
            download([entry.url], folder / name, f"sha256:{digits}", max_bytes=most, advice="check the network")
            return _weights(entry, folder)

    def _entry(self) -> Any:
        """The entry of the weights in torchvision's registry."""
        from torchvision import models as zoo

        return zoo.get_model_weights(self.model)[str(self.weights)]

    def _network(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The network with these weights, frozen. Building it draws no random numbers.

        Raises:
            DataError: the weights are not of this model.
        """
        from torchvision import models as zoo

        count = len(self._entry().meta["categories"]) if self.weights is not None else self.num_classes
        with torch.device("meta"):
            network = zoo.get_model(self.model, weights=None, num_classes=count)
        with explained(f"{self.model} with {count} classes", "the weights are those of another network", RuntimeError):
            network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)

    def _change(self, splits: Splits, normalise: str) -> tuple[Tensor, Tensor]:
        """(gain, shift), each (C, 1, 1): from the student's inputs to the teacher's."""
        mean, std = self.mean, self.std
        if self.weights is not None:
            preset = self._entry().transforms()
            mean, std = preset.mean, preset.std
        if mean is None:
            return torch.ones(1), torch.zeros(1)
        allowed = "standard or unit, from which a teacher's own normalisation can be made"
        require(normalise in ("standard", "unit"), "normalise", normalise, allowed)
        is_unit = normalise == "unit"
        own_mean = torch.zeros_like(splits.mean) if is_unit else splits.mean
        own_std = torch.ones_like(splits.std) if is_unit else torch.where(splits.std > 0, splits.std, 1.0)
        wanted_mean, wanted_std = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
        gain, shift = own_std / wanted_std, (own_mean - wanted_mean) / wanted_std
        return gain.view(-1, 1, 1), shift.view(-1, 1, 1)


def _weights(entry: Any, folder: Path) -> Mapping[str, Tensor]:
    """torchvision's weights, downloaded or kept in the folder.

    Raises:
        ValueError: the file holds more than tensors; torch's own error advises to run the code in it.
    """
    try:
        state: Mapping[str, Tensor] = entry.get_state_dict(
            progress=False, check_hash=True, model_dir=str(folder), weights_only=True
        )
        return state
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise ValueError("the file holds more than weights, and nothing in it was run") from None


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise DataError(f"{file}: no such file; fetch the teacher first (`snakemake data`)")
    with explained(file, remedy(file), *DAMAGE):
        with safe_open(file, framework="pt") as opened:
            expected = (opened.metadata() or {})["sha256"]
        state = load_file(file)
        if (found := _digest(state)) != expected:
            raise ValueError(f"its content has changed: sha256 is {found}, expected {expected}")
        return state


def _digest(state: Mapping[str, Tensor]) -> str:
    """The sha256 of names, dtypes, shapes and numbers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # bytes: numpy has no bfloat16
    return digest.hexdigest()
