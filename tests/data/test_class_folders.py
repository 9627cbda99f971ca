from __future__ import annotations

import random
import unicodedata

import pytest

from boundcheck.data.class_folders import find_pictures, in_order
from boundcheck.data.errors import DataError

WITHOUT_SPLITS = [
    f"{label}/{number}.png" for label, count in (("ant", 10), ("cat", 5), ("bee", 2)) for number in range(count)
]


def both(*names):
    return [f"{split}/{name}" for split in ("train", "test") for name in names]


def places(found, is_train):
    """The class and the file of each row of a split, in the order of the rows."""
    rows = sorted((row.number, name) for name, row in found.rows.items() if row.is_train == is_train)
    assert [number for number, _ in rows] == list(range(len(rows)))
    return [name for _, name in rows]


def test_numbers_are_sorted_as_numbers():
    names = [str(number) for number in range(12)]
    assert in_order(random.Random(0).sample(names, 12)) == names
    assert in_order(["10", "9", "b"]) == ["10", "9", "b"]
    assert in_order(["02", "1", "10", "01"]) == ["01", "1", "02", "10"]
    assert in_order(["9" * 5000, "10"]) == ["10", "9" * 5000]  # a name in an archive may be as long
    assert in_order(["3", "-10", "-9", "0"]) == ["-10", "-9", "0", "3"]
    assert in_order(["--1", "-9", "-10"]) == ["--1", "-10", "-9"]
    assert find_pictures(both(*(f"{label}/x.png" for label in names)), "mine").classes == names


@pytest.mark.parametrize(
    "suffix", [".png", ".JPG", ".jfif", ".jpe", ".webp", ".avif", ".jp2", ".tga", ".ico", ".qoi", ".pnm"]
)
def test_all_that_pillow_decodes_are_pictures(suffix):
    found = find_pictures(both("ant/x.png", "cat/x.png", f"cat/y{suffix}"), "mine")
    assert found.counts() == {"train": {"ant": 1, "cat": 2}, "test": {"ant": 1, "cat": 2}}


@pytest.mark.parametrize("suffix", [".eps", ".ps", ".pdf", ".heic", ".svg", ".mpg", ".h5", ".npy", ""])
def test_other_files_are_counted_by_suffix(suffix):
    found = find_pictures(both("ant/x.png", "cat/x.png", f"cat/y{suffix}"), "mine")
    assert found.passed_over == {f"suffix {suffix or 'missing'}": (2, f"train/cat/y{suffix}")}


def test_every_file_is_read_or_passed_over_for_a_reason():
    others = ["README.md", "val/ant/x.png", "train/x.png", "train/.git/x.png", "train/ant/._x.png", "other/y.png"]
    found = find_pictures([*both("ant/x.png", "cat/x.png"), *others], "mine")
    assert found.passed_over == {
        "in no folder that is read": (3, "README.md"),
        "in no class folder": (1, "train/x.png"),
        "hidden": (2, "train/.git/x.png"),
    }
    assert len(found.rows) == 4


def test_names_match_in_any_unicode_form():
    composed, apart = (unicodedata.normalize(form, "café/é.png") for form in ("NFC", "NFD"))
    assert composed != apart
    found = find_pictures([f"train/{composed}", f"test/{apart}", *both("ant/x.png")], "mine")
    assert found.classes == ["ant", unicodedata.normalize("NFC", "café")]
    names = [f"{number}é.png" for number in range(9)]
    orders = []
    for form in ("NFC", "NFD"):
        given = [unicodedata.normalize(form, f"ant/{name}") for name in names]
        rows = places(find_pictures(both(*given, "cat/x.png"), "mine"), True)
        orders.append([unicodedata.normalize("NFC", name) for name in rows])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("top", ["", "pictures/", "train/", "pictures/train/"])
def test_pictures_without_splits_are_divided(top):
    names = [top + name for name in WITHOUT_SPLITS]
    found = find_pictures(names, "mine", 0.2, 7)
    assert found.classes == ["ant", "bee", "cat"]
    assert found.counts() == {"train": {"ant": 8, "bee": 1, "cat": 4}, "test": {"ant": 2, "bee": 1, "cat": 1}}
    assert {*found.rows} == {*names}
    for seed in range(5):
        shuffled = random.Random(seed).sample(names, len(names))
        assert find_pictures(shuffled, "elsewhere", 0.2, 7).rows == found.rows
    plain = find_pictures(WITHOUT_SPLITS, "mine", 0.2, 7)
    assert places(found, False) == [top + name for name in places(plain, False)]
    assert any(places(find_pictures(names, "mine", 0.2, seed), False) != places(found, False) for seed in range(4))


def test_a_share_of_the_test_pictures_keeps_both_splits():
    for share, num_test in ((0.01, 1), (0.5, 5), (0.99, 9)):
        found = find_pictures(WITHOUT_SPLITS, "mine", share)
        assert found.counts()["test"]["ant"] == num_test


def test_pictures_of_a_class_may_lie_deeper_and_files_beside_the_classes_are_told():
    found = find_pictures([*WITHOUT_SPLITS, "ant/more/1.png", "list.txt", "9.png"], "mine", 0.2)
    assert found.classes == ["ant", "bee", "cat"]
    assert found.passed_over == {"suffix .txt": (1, "list.txt"), "in no class folder": (1, "9.png")}


@pytest.mark.parametrize("name", ["train/ant/\udcff.png", "train/a\x1bnt/x.png", "train/ant/\n.png"])
def test_names_that_no_terminal_should_see_are_refused(name):
    with pytest.raises(DataError, match=r"mine: the name .*\\.* is not plain text"):
        find_pictures([*both("ant/x.png", "cat/x.png"), name], "mine")


def test_control_characters_are_told_from_bytes_that_are_no_text():
    with pytest.raises(DataError, match=r"is not plain text in UTF-8; rename"):
        find_pictures(["train/a\udcffnt/x.png"], "mine")
    with pytest.raises(DataError, match=r"is not plain text: it holds the control character '\\n'; rename"):
        find_pictures(["train/a\nnt/x.png"], "mine")


def test_such_names_of_other_files_do_no_harm():
    found = find_pictures([*both("ant/x.png", "cat/x.png"), "train/Icon\r", "train/\udcff.txt"], "mine")
    assert len(found.rows) == 4


@pytest.mark.parametrize("names", [("Train", "Test"), ("TRAIN", "val"), ("train", "VALID"), ("Train", "Validation")])
@pytest.mark.parametrize("top", ["", "Pictures/"])
def test_names_of_splits_may_be_in_any_case(names, top):
    given = [f"{top}{split}/{label}/x.png" for split in names for label in ("ant", "cat")]
    found = find_pictures(given, "mine")
    assert found.counts() == {"train": {"ant": 1, "cat": 1}, "test": {"ant": 1, "cat": 1}}
    with pytest.raises(DataError, match=rf"mine: has pictures in {names[1]}/, so it has splits already; leave `split`"):
        find_pictures(given, "mine", 0.3)
    without_test = [*given[:2], *(name.replace("x.", "y.") for name in given[:2])]
    assert find_pictures(without_test, "mine", 0.5).classes == ["ant", "cat"]


REFUSED = {
    "two names of one split": (
        [*both("ant/x.png", "cat/x.png"), "Train/ant/y.png"],
        {},
        "'Train/' and 'train/' are both names of the split train; put all of its pictures into one of them",
    ),
    "names to change": (
        ["training/ant/x.png", "test/ant/x.png"],
        {},
        r"no pictures in train \(there is 'test', 'training'\); expected train/<class>/<picture>: "
        "rename 'training' to train",
    ),
    "class folders one level too deep": (
        both("a/cat/x.png", "a/dog/x.png", "b/cat/x.png", "b/dog/x.png"),
        {},
        r"class 'a' has no pictures of its own, only folders \(there is 'cat', 'dog'\); expected train/<class>/.* up",
    ),
    "class folders one level too deep without splits": (
        ["a/cat/x.png", "a/dog/x.png", "b/cat/x.png", "b/dog/x.png"],
        {"split": 0.5},
        r"class 'a' has no pictures of its own, only folders \(there is 'cat', 'dog'\); expected <class>/<picture>",
    ),
    "splits inside the classes": (
        [f"{label}/{split}/x.png" for label in ("cat", "dog") for split in ("train", "test")],
        {},
        "several folders hold a `train`: cat, dog; expected .*, not <class>/train/<picture>: move cat/train to train/",
    ),
    "a link instead of a split": (
        ["train/ant/x.png", "train/cat/x.png"],
        {"links": ["test"]},
        r"no pictures in test \(or val\) \(there is 'train'\), and 'test' is a link to a folder that is read under "
        "another name or lies above; expected .*: put a folder of pictures there instead of the link",
    ),
    "a link instead of a class": (
        [*both("ant/x.png", "cat/x.png"), "test/bird/x.png"],
        {"links": ["train/bird"]},
        "class 'bird' has no pictures in train, and 'train/bird' is a link to .*; put a folder of pictures there",
    ),
    "links instead of a class in both splits": (
        [*both("ant/x.png", "cat/x.png"), "birds/x.png"],
        {"links": ["test/bird", "train/bird"]},
        "class 'bird' has no pictures in train, and 'train/bird' is a link to .*; put a folder of pictures there",
    ),
    "a link instead of the only other class": (
        both("ant/x.png"),
        {"links": ["train/cat"]},
        "one class only, 'ant', and 'train/cat' is a link to .*; expected train/<class>/<picture>",
    ),
    "no class folders": (
        ["1.png", "2.png"],
        {"split": 0.2},
        r"no pictures in class folders \(there is '1.png', '2.png'\); expected <class>/<picture> or train/<class>/",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_lies_in_the_wrong_place_is_refused(name):
    names, settings, message = REFUSED[name]
    with pytest.raises(DataError, match=f"^mine: {message}"):
        find_pictures(names, "mine", **settings)


def test_hidden_folders_hold_no_splits():
    names = [f"mine/{name}" for name in both("ant/x.png", "cat/x.png")]
    assert find_pictures([*names, ".git/train/ant/x.png", "other/train/._x.png"], "mine").classes == ["ant", "cat"]


def test_one_folder_in_each_class_is_no_class():
    assert find_pictures(both("ant/images/x.png", "cat/images/x.png"), "mine").classes == ["ant", "cat"]
