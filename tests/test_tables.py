import pyarrow.parquet as pq
import pytest

from boundcheck import tables


def test_what_is_written_is_read(tmp_path):
    columns = {"seed": [0], "step": [3], "epoch": [0.5], "quantity": ["loss"], "index": [-1]}
    columns |= {"coordinate": [float("nan")], "value": [0.1], "error": [float("nan")]}
    path = tmp_path / "new" / "curves.parquet"
    tables.write(columns, tables.TIDY, path)
    table = pq.read_table(path)
    assert table.schema.equals(tables.TIDY)
    assert table["value"].to_pylist() == [0.1]
    assert [file.name for file in path.parent.iterdir()] == ["curves.parquet"]


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
