"""How a run uses a dataset: the number of examples, their size and normalisation. Importing this needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from boundcheck.contracts import Split, Splits
from boundcheck.data.errors import DataError, composed, require
from boundcheck.data.sizes import Sizes
from boundcheck.settings import Count, CountOrZero, MinLen, settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Normalise = Literal["standard", "unit", "sphere", "none"]
ClassName = Annotated[str, MinLen(1)]
MAX_FLOAT_BYTES = 2 * 2**30  # datasets that are larger as floats stay uint8 and are normalised batch by batch


@settings
class View:
    """Subset, pooling and normalisation of a dataset. In a config, its fields stand beside those of the dataset's kind.

    How a run uses it:

        splits = view.apply(dataset.load(root), device, dtype)
        floats = view.batch(splits, device, dtype)  # does nothing if `apply` has already made floats
        inputs = floats(splits.train.inputs[rows])  # rows (b,) or (k, b), on splits.train.inputs.device

    Args:
        train_size: Number of training examples to use: the first of each class, in equal numbers; by default all.
        test_size: Number of test examples to use, chosen likewise.
        pool: Side of the images in pixels after averaging over windows (14 turns 28x28 into 14x14).
        normalise: `standard`: (x − mean)/std per channel, with the statistics of the chosen training examples after
            pooling (a constant channel becomes 0); `unit`: in [0, 1]; `sphere`: every input has norm √d, where d is
            its number of values; `none`: the stored numbers, 0…255 for images.
        positive: Makes two classes: the listed classes become class 1, all others class 0. Examples are chosen by
            their original classes. A class is given by its number or, in quotes if it looks like a number, by its
            name. By default classes are unchanged. `[1, 3, 5, 7, 9]` is the parity of a digit.
    """

    train_size: Count | None = None
    test_size: Count | None = None
    pool: Count | None = None
    normalise: Normalise = "standard"
    positive: Annotated[Sequence[CountOrZero | ClassName], MinLen(1)] | None = None

    def sizes(self, known: Sizes) -> Sizes:
        """The sizes of the data after this view, from the sizes that are known before the dataset is fetched.

        Raises:
            ValueError: a size or `pool` does not fit the data.
        """
        viewed = known.viewed(self.train_size, self.test_size, self.pool)
        if self.positive is None:
            return viewed
        has_names = any(isinstance(given, str) for given in self.positive)
        if known.num_classes is not None and (known.class_names or not has_names):
            self._positive_labels(known.num_classes, known.class_names)
        return viewed._replace(num_classes=2)

    def _positive_labels(self, num_classes: int, class_names: Sequence[str] = ()) -> list[int]:
        """The labels of the classes that `positive` lists, by number or by name in any Unicode form."""
        by_name = {composed(name): label for label, name in enumerate(class_names)}
        given = self.positive or ()
        labels = [by_name.get(composed(each), -1) if isinstance(each, str) else each for each in given]
        names = f", or of their names: {', '.join(map(repr, class_names[:20]))}" if by_name else ""
        allowed = f"some, but not all, of 0…{num_classes - 1}{names}"
        require({*labels} < {*range(num_classes)}, "positive", self.positive, allowed)
        return labels

    def apply(self, splits: Splits, device: torch.device | str, dtype: torch.dtype) -> Splits:
        """The chosen examples as normalised floats on the device, ready for training.

        Images (n, C, H, W) that would need more than 2 GiB as floats stay uint8, and `batch` normalises them. They are
        on the device if they have at most 2 GiB as uint8, else memory-mapped. In the result, `input_shape` is the
        shape of the network's inputs; `mean` and `std` (float64, on the CPU) are those of the chosen training
        examples, pooled and scaled to [0, 1].

        Raises:
            DataError: a size, `pool` or `positive` does not fit the data.
        """
        from boundcheck.data.normalise import Normaliser, choose, two_classes

        chosen = choose(splits, self.train_size, self.test_size, self.pool)
        if self.positive is not None:
            try:
                labels = self._positive_labels(splits.num_classes, splits.class_names)
            except ValueError as error:  # found only now, as the classes were not known before the fetch
                raise DataError(str(error)) from None
            chosen = two_classes(chosen, labels)
        num_inputs = len(chosen.train.labels) + len(chosen.test.labels)
        num_bytes = num_inputs * math.prod(chosen.input_shape) * dtype.itemsize
        if num_bytes > MAX_FLOAT_BYTES and not chosen.train.inputs.is_floating_point():
            return chosen._replace(train=_moved(chosen.train, device), test=_moved(chosen.test, device))
        normaliser = Normaliser.of(chosen, self.normalise, device, dtype)
        return chosen._replace(train=normaliser.convert(chosen.train), test=normaliser.convert(chosen.test))

    def batch(self, splits: Splits, device: torch.device | str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """A function that turns a batch of the inputs of `splits` into floats (..., *input_shape) on the device.

        `splits` must come from `apply`.
        """
        from boundcheck.data.normalise import Normaliser

        if splits.train.inputs.is_floating_point():
            return lambda inputs: inputs
        return Normaliser.of(splits, self.normalise, device, dtype)


def _moved(split: Split, device: torch.device | str) -> Split:
    """Move the labels to the device, and the inputs too if they have at most 2 GiB."""
    is_small = split.inputs.nbytes <= MAX_FLOAT_BYTES
    return Split(split.inputs.to(device) if is_small else split.inputs, split.labels.to(device))
