"""What is known about a dataset before it is fetched, so that mistakes in a config are found early."""

from __future__ import annotations

from typing import NamedTuple

from boundcheck.data.errors import require


class Sizes(NamedTuple):
    """A dataset's `sizes`: input shape and counts. None: not known before the data is fetched."""

    input_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    class_names: tuple[str, ...] = ()

    def viewed(self, train_size: int | None, test_size: int | None, pool: int | None) -> Sizes:
        """The sizes after choosing examples and pooling.

        Raises:
            ValueError: a size or `pool` does not fit the data.
        """
        for field, size, most in (("train_size", train_size, self.num_train), ("test_size", test_size, self.num_test)):
            if size is not None and most is not None:
                require(size <= most, field, size, f"at most {most}")
            if size is not None and size != most and self.num_classes is not None:
                allowed = f"multiples of {self.num_classes}, the number of classes"
                require(size % self.num_classes == 0, field, size, allowed)
        shape = None if self.input_shape is None else pooled_shape(self.input_shape, pool)
        return Sizes(shape, self.num_classes, train_size or self.num_train, test_size or self.num_test)


def pooled_shape(shape: tuple[int, ...], pool: int | None) -> tuple[int, ...]:
    """The shape of images (channels, height, width) after averaging to `pool` x `pool` pixels.

    Raises:
        ValueError: `pool` does not divide both sides, or the inputs are not images.
    """
    if pool is None:
        return shape
    divides = len(shape) == 3 and shape[1] % pool == 0 and shape[2] % pool == 0
    require(divides, "pool", pool, f"divisors of both sides of images; inputs are {tuple(shape)}")
    return (shape[0], pool, pool)
