"""A training of the tests' small cell, before its first step."""

import pytest

from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import load_examples, prepared_device
from boundcheck.training.loop import Loop


@pytest.fixture
def loop_of(arrays):
    """A training of a spec's seeds, or of some of them, that has made no step yet."""

    def loop_of(spec, seeds=None, file=arrays):
        cell, device = Cell.from_spec(spec), prepared_device(1)
        return Loop(cell, cell.seeds if seeds is None else seeds, load_examples(cell, file, device))

    return loop_of
