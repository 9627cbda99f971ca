"""What is written is there whole or not at all."""

import errno

import pytest

from boundcheck.atomic_files import replacing, write_text


def test_a_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "folder" / "file"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_a_folder_replaces_a_folder(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots/old").touch()
    with replacing(tmp_path / "snapshots") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [file.name for file in (tmp_path / "snapshots").iterdir()] == ["new"]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    write_text("old", tmp_path / "file")
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "file") as temporary:
        (temporary.write_text("half"), tmp_path.write_text("no file"))
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_goes(tmp_path):
    (tmp_path / ".file.1.part").write_text("half")
    (tmp_path / ".file.2.part").mkdir()
    (tmp_path / ".other.1.part").write_text("half")
    write_text("whole", tmp_path / "file")
    assert {file.name for file in tmp_path.iterdir()} == {"file", ".other.1.part"}


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match="file") as caught, replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
