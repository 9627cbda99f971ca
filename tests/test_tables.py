import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from boundcheck import tables
from boundcheck.manifests import read_manifest, write_manifest


def test_what_is_written_is_read(tmp_path):
    columns = {"seed": [0], "step": [3], "epoch": [0.5], "quantity": ["loss"], "index": [-1]}
    columns |= {"coordinate": [float("nan")], "value": [0.1], "error": [float("nan")]}
    path = tmp_path / "new" / "curves.parquet"
    tables.write(columns, tables.TIDY, path)
    table = pq.read_table(path)
    assert table.schema.equals(tables.TIDY)
    assert table["value"].to_pylist() == [0.1]
    assert [file.name for file in path.parent.iterdir()] == ["curves.parquet"]
    write_manifest(path.with_name("provenance.json"), "train", {}, [path])
    read = tables.read(path, tables.TIDY, read_manifest(path.with_name("provenance.json"), "train"))
    assert (read.schema, read["value"]) == (table.schema, table["value"])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "curves.parquet"
    empty = {name: [] for name in tables.TIDY.names}
    tables.write(empty, tables.TIDY, path)
    before = path.read_bytes()
    with pytest.raises(KeyError):
        tables.write({}, tables.TIDY, path)
    with pytest.raises((TypeError, ValueError)):
        tables.write({**empty, "seed": ["x"]}, tables.TIDY, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.float64(), [0.1, float("inf"), -2.0]),
        (pa.float64(), [1, 2]),
        (pa.float64(), [None, 1.0]),
        (pa.int32(), [3, -1]),
        (pa.int64(), [2**40, None]),
        (pa.string(), ["a", "", "R⁰ ≤ R¹"]),
        (pa.string(), ["a", None]),
        (pa.string(), []),
        (pa.bool_(), [True, None, False]),
    ],
)
def test_arrays_are_those_of_pyarrow(kind, values):
    found = tables._array(values, kind)
    found.validate(full=True)
    assert found.equals(pa.array(values, kind))


@pytest.mark.parametrize(("kind", "values"), [(pa.int32(), [2**40]), (pa.int64(), ["x"])])
def test_numbers_that_do_not_fit_are_refused(kind, values):
    with pytest.raises((pa.ArrowInvalid, OverflowError, TypeError)):
        tables._array(values, kind)


def test_writing_plain_columns_imports_no_pandas(tmp_path):
    program = (
        "import sys, pathlib; from boundcheck import tables\n"
        "columns = {name: [1] for name in tables.TIDY.names} | {'quantity': ['loss']}\n"
        f"tables.write(columns, tables.TIDY, pathlib.Path({str(tmp_path / 'x.parquet')!r}))\n"
        "print('pandas' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"
