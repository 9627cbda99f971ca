"""Each folder below the top is met once, whatever links there are."""

import os

import pytest

from boundcheck.planning.folder_walk import walk


@pytest.fixture
def top(tmp_path):
    for name in ("train/ant", "train/cat", "test/ant"):
        (tmp_path / "top" / name).mkdir(parents=True)
        (tmp_path / "top" / name / "1.png").write_bytes(b"x")
    return tmp_path / "top"


def files(top):
    """The names of all files, and of the folders that were met again."""
    errors = []
    walked = list(walk(top, errors.append))
    assert errors == []
    below = sorted(f"{folder.name}/{file}".lstrip("/") for folder in walked for file in folder.files)
    return below, sorted(folder.name for folder in walked if folder.repeats)


PLAIN = ["test/ant/1.png", "train/ant/1.png", "train/cat/1.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/", "../cat", "../../test", "../../test/ant"])
def test_a_link_to_a_folder_of_another_name_adds_nothing(top, target):
    (top / "train/ant/a_link").symlink_to(target)
    assert files(top) == (PLAIN, ["train/ant/a_link"])


def test_a_link_to_a_folder_elsewhere_is_followed_once(top, tmp_path):
    (tmp_path / "other/deep").mkdir(parents=True)
    (tmp_path / "other/deep/2.png").write_bytes(b"x")
    (tmp_path / "other/back").symlink_to(top)
    (top / "train/bee").symlink_to(tmp_path / "other")
    (top / "train/dog").symlink_to(tmp_path / "other/deep")
    assert files(top) == (sorted([*PLAIN, "train/bee/deep/2.png"]), ["train/bee/back", "train/dog"])


def test_the_top_may_be_a_link_and_files_that_are_none_are_named(top, tmp_path):
    (tmp_path / "link").symlink_to(top)
    os.mkfifo(top / "pipe")
    (top / "self").symlink_to("self")
    (top / "gone").symlink_to("nowhere")
    assert files(tmp_path / "link") == (sorted([*PLAIN, "pipe", "self", "gone"]), [])


def test_a_folder_that_cannot_be_read_is_told(top, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors = []
    assert list(walk(top, errors.append)) == []
    assert [error.filename for error in errors] == [str(top)]
