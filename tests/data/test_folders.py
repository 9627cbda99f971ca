from __future__ import annotations

import hashlib
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from boundcheck.data import folders
from boundcheck.data.archives import open_files
from boundcheck.data.arrays import read_arrays
from boundcheck.data.class_folders import find_pictures
from boundcheck.data.errors import DataError
from boundcheck.data.folders import ImageFolder


def fetched(root, path, **settings):
    dataset = ImageFolder(str(path), **settings)
    dataset.fetch(root)
    return dataset.load(root)


def refused(tmp_path, match, path, **settings):
    with pytest.raises(DataError, match=match):
        ImageFolder(str(path), **settings).fetch(tmp_path / "data")
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def archived(folder, form):
    """An archive of a folder; forms with `+` put it below one more folder."""
    target = folder.parent / f"archive-{form.replace('+', '')}"
    below = folder.name if "+" in form else "."
    root = folder.parent if "+" in form else folder
    return shutil.make_archive(str(target), form.replace("+", ""), root, below)


def check(splits, pixels):
    """Every picture is there once, rows in the order of the sha256 of class/file."""
    for split, data in (("train", splits.train), ("test", splits.test)):
        names = sorted(
            (name for name in pixels if name.startswith(split)),
            key=lambda name: hashlib.sha256(name.partition("/")[2].encode()).digest(),
        )
        assert data.labels.tolist() == [["ant", "cat"].index(name.split("/")[1]) for name in names]
        assert np.array_equal(data.inputs, np.stack([pixels[name].transpose(2, 0, 1) for name in names]))


@pytest.mark.parametrize("form", ["folder", "tar", "gztar", "zip", "tar+", "zip+"])
def test_folders_and_archives_read_alike(tmp_path, pictures, form):
    folder, pixels = pictures
    splits = fetched(tmp_path / "data", folder if form == "folder" else archived(folder, form))
    check(splits, pixels)
    assert (splits.input_shape, splits.num_classes) == ((3, 6, 5), 2)


@pytest.mark.parametrize("block", [1, 4])
def test_pictures_are_read_in_blocks(tmp_path, pictures, monkeypatch, block):
    monkeypatch.setattr(folders, "READ_AHEAD", block)
    check(fetched(tmp_path / "data", pictures[0]), pictures[1])


def test_large_pictures_are_read_by_threads(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(folders, "LARGE_PICTURE", 1)
    monkeypatch.setattr(folders.torch, "get_num_threads", lambda: 3)
    check(fetched(tmp_path / "data", archived(pictures[0], "gztar")), pictures[1])


def test_val_is_read_as_test(tmp_path, pictures):
    folder, pixels = pictures
    (folder / "test").rename(folder / "val")
    check(fetched(tmp_path / "data", folder), pixels)


def test_other_files_are_passed_over(tmp_path, pictures):
    folder, pixels = pictures
    (folder / "README.md").write_text("text")
    (folder / "train" / "list.txt").write_text("text")
    (folder / "train" / "loose.png").write_bytes(b"no class")
    (folder / "train" / "ant" / "._0.png").write_bytes(b"hidden")
    (folder / "train" / "ant" / "Thumbs.db").write_bytes(b"other")
    (folder / "unused").mkdir()
    check(fetched(tmp_path / "data", folder), pixels)


def test_pictures_may_lie_deeper(tmp_path, pictures):
    folder, _ = pictures
    (folder / "train" / "ant" / "images").mkdir()
    (folder / "train" / "ant" / "0.png").rename(folder / "train" / "ant" / "images" / "0.PNG")
    assert fetched(tmp_path / "data", folder).train.labels.bincount().tolist() == [3, 3]


def test_size_and_channels(tmp_path, pictures):
    folder, pixels = pictures
    Image.fromarray(pixels["train/ant/0.png"]).resize((30, 20)).save(folder / "train" / "ant" / "0.png")
    assert fetched(tmp_path / "a", folder, size=4, channels=1).input_shape == (1, 4, 4)
    assert fetched(tmp_path / "b", folder, size=[6, 4]).input_shape == (3, 6, 4)
    assert fetched(tmp_path / "c", folder, size=4, resize=5).input_shape == (3, 4, 4)


def test_the_first_picture_of_another_size_is_named(tmp_path, pictures):
    folder, _ = pictures
    for name in ("1.png", "2.png"):
        Image.new("RGB", (5, 7)).save(folder / "train" / "cat" / name)
    refused(tmp_path, r"train/cat/1.png is \(7, 5\), those before it \(6, 5\).*set `size`", folder)


def test_an_unreadable_picture_is_named(tmp_path, pictures):
    folder, _ = pictures
    path = folder / "test" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:50])
    refused(tmp_path, rf"{folder}: test/cat/1.png: .*mend or remove", folder)


def test_a_class_of_one_split_only_is_named(tmp_path, pictures):
    folder, _ = pictures
    shutil.rmtree(folder / "test" / "cat")
    refused(tmp_path, "class 'cat' has no pictures in test", folder)
    shutil.rmtree(folder / "train" / "cat")
    (folder / "test" / "bee").mkdir()
    shutil.copy(folder / "test" / "ant" / "0.png", folder / "test" / "bee")
    refused(tmp_path, "class 'bee' has no pictures in train", folder)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("how", ["no folder", "no class", "no picture"])
def test_an_empty_split_is_named(tmp_path, pictures, split, how):
    folder, _ = pictures
    shutil.rmtree(folder / split)
    if how != "no folder":
        (folder / split).mkdir()
    if how == "no picture":
        (folder / split / "ant").mkdir()
    refused(tmp_path, f"{folder}: no pictures in {split}.*expected {split}.*/<class>/", folder)


def test_a_missing_path_is_named(tmp_path):
    refused(tmp_path, "nowhere: no such folder or archive", tmp_path / "nowhere")


def test_an_archive_with_two_datasets_is_refused():
    with pytest.raises(DataError, match=r"several folders hold a `train`: a, b; name one"):
        find_pictures(["a/train/x/1.png", "b/train/x/1.png"], "two.tar")


def test_an_archive_with_a_link_is_refused(tmp_path, pictures):
    folder, _ = pictures
    (folder / "train" / "cat" / "9.png").symlink_to("0.png")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        archive.add(folder, ".")
    refused(tmp_path, "links.tar: member .*9.png' is a link", tmp_path / "links.tar")


def test_a_full_disk(tmp_path, pictures, full_disk):
    with full_disk(100):
        refused(tmp_path, "data: .*free space", pictures[0])


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("resize", {"resize": 8}),
        ("resize", {"size": 8, "resize": 7}),
        ("resize", {"size": [8, 9], "resize": 8}),
        ("resize", {"size": 224, "resize": 4097}),
        ("size", {"size": 100_000}),
        ("size", {"size": [4096, 4097]}),
    ],
)
def test_settings_that_make_no_sense(field, settings):
    with pytest.raises(ValueError, match=f"{field}: got .*; allowed: "):
        ImageFolder(**{"path": "x", **settings})


def test_it_says_what_was_read(tmp_path, pictures):
    folder, _ = pictures
    (folder / "train/ant/again").symlink_to("../cat")
    (folder / "train/list.txt").write_text("text")
    frames = [Image.new("L", (5, 6), value) for value in (1, 2)]
    frames[0].save(folder / "train/ant/9.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (5, 6)).save(folder / "test/cat/9.jpg")
    Image.new("RGBA", (5, 6)).save(folder / "test/cat/8.png")
    read = ImageFolder(str(folder), background="white").fetch(tmp_path / "data")
    link = "a link to a folder that is read under another name or lies above"
    assert read == {
        "classes": ["ant", "cat"],
        "pictures": {"train": {"ant": 4, "cat": 3}, "test": {"ant": 2, "cat": 4}},
        "passed over": {
            "suffix .txt": {"files": 1, "first": "train/list.txt"},
            link: {"files": 1, "first": "train/ant/again"},
        },
        "changed": {
            "first of several frames": 1,
            "CMYK converted to RGB without a colour profile": 1,
            "transparent parts on white": 1,
        },
    }


def test_links_to_folders_do_not_move_or_double_pictures(tmp_path, pictures):
    folder, pixels = pictures
    (folder / "train/ant/up").symlink_to("..")
    (folder / "train/ant/sibling").symlink_to("../cat")
    (folder / "test/loop").symlink_to(folder.parent)
    check(fetched(tmp_path / "data", folder), pixels)


def test_links_to_pictures_of_the_class_are_passed_over(tmp_path, pictures):
    folder, pixels = pictures
    (folder / "train/ant/-0.png").symlink_to("0.png")
    (folder / "train/ant/more").mkdir()
    (folder / "train/ant/more/1.png").hardlink_to(folder / "train/ant/1.png")
    read = ImageFolder(str(folder)).fetch(tmp_path / "data")
    link = "a link to a picture of the class that is read under another name"
    assert read["passed over"] == {link: {"files": 2, "first": "train/ant/-0.png"}}
    check(read_arrays(tmp_path / "data"), pixels)


def test_a_link_that_a_split_is_missing_for_is_named(tmp_path, pictures):
    folder, _ = pictures
    shutil.rmtree(folder / "test")
    (folder / "test").symlink_to("train")
    refused(
        tmp_path, r"no pictures in test.*'test' is a link to a folder that is read.*: put a folder of pictures", folder
    )


def test_pictures_without_splits(tmp_path, pictures):
    folder, pixels = pictures
    for label in ("ant", "cat"):
        (folder / "train" / label).rename(folder / label)
    shutil.rmtree(folder / "train")
    shutil.rmtree(folder / "test")
    splits = fetched(tmp_path / "data", folder, split=0.4, split_seed=3)
    assert [split.labels.bincount().tolist() for split in (splits.train, splits.test)] == [[2, 2], [1, 1]]
    found = {(row.numpy().tobytes(), int(label)) for split in splits[:2] for row, label in zip(*split, strict=True)}
    known = {
        (picture.transpose(2, 0, 1).tobytes(), ["ant", "cat"].index(name.split("/")[1]))
        for name, picture in pixels.items()
        if name.startswith("train")
    }
    assert found == known


@pytest.mark.parametrize(("most", "lengths"), [(1, [1] * 10), (10**9, [4, 4, 2])])
def test_blocks_end_before_they_are_large(pictures, monkeypatch, most, lengths):
    monkeypatch.setattr(folders, "READ_AHEAD_BYTES", most)
    monkeypatch.setattr(folders, "READ_AHEAD", 4)
    with open_files(pictures[0]) as files:
        blocks = [block for block in folders._blocks(files, files.names) if block]
    assert [len(block) for block in blocks] == lengths
    assert [name for block in blocks for name in block] == files.names
