"""Which pictures of a folder or archive are read: their splits, classes and rows, and what is passed over, and why."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from boundcheck.data.errors import DataError, composed
from boundcheck.data.pictures import suffixes

TEST_FOLDERS = ("test", "val")  # the first that has pictures is read
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
LAYOUT = "expected train/<class>/<picture> and test/<class>/<picture> (or val)"
WITHOUT_SPLITS = "; for <class>/<picture> without splits set `split: 0.2`, the share of the test pictures"


class Row(NamedTuple):
    """The row of the array file that a picture is written to, and its label."""

    is_train: bool
    number: int
    label: int


class Place(NamedTuple):
    """The class of a picture, and its path below the folder of the class; in Unicode's composed form (NFC)."""

    label: str
    file: str


Pictures = dict[str, Place]  # by the name of the file


@dataclass(frozen=True)
class ClassFolders:
    """What is read: the class names in the order of their labels, and the row of each picture by its file name.

    `passed_over` counts the other files by the reason, and names one of each.
    """

    classes: list[str]
    rows: dict[str, Row]
    passed_over: dict[str, tuple[int, str]]

    @property
    def num_train(self) -> int:
        """Number of training pictures."""
        return sum(row.is_train for row in self.rows.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of pictures of each class, by split."""
        return {
            split: {label: counted[number] for number, label in enumerate(self.classes)}
            for split, is_train in (("train", True), ("test", False))
            if (counted := Counter(row.label for row in self.rows.values() if row.is_train == is_train))
        }


def find_pictures(names: Sequence[str], source: str, split: float | None = None, split_seed: int = 0) -> ClassFolders:
    """Find the pictures of both splits.

    Rows are ordered by the sha256 of `<class>/<file>`. With `split`, the pictures of a class are ordered by the sha256
    of `<split_seed>/<class>/<file>`; that share of them, rounded, from the first one on are test pictures.

    Args:
        names: the files of the directory or archive.
        source: its path, for error messages.
        split: share of the pictures of each class that are test pictures, where the folder has no test/ or val/.
        split_seed: another number gives another choice of test pictures.

    Raises:
        DataError: a split has no pictures, there is one class only, the splits have different classes, or a name is
            no text.
    """
    for name in names:
        if _is_picture(name) and not _is_plain(name):
            raise DataError(f"{source}: the name {name!r} is not plain text in UTF-8; rename the file or its folder")
    train, test, read = _both_splits(names, source) if split is None else _divided(names, source, split, split_seed)
    classes = _classes(train, test, source)
    labels = {name: label for label, name in enumerate(classes)}
    rows: dict[str, Row] = {}
    for is_train, pictures in ((True, train), (False, test)):
        order = sorted(pictures, key=lambda name: _digest("/".join(pictures[name])))
        rows |= {name: Row(is_train, index, labels[pictures[name].label]) for index, name in enumerate(order)}
    _refuse_lost_classes(names, rows, read, source)
    return ClassFolders(classes, rows, _passed_over(names, rows, read))


def _both_splits(names: Sequence[str], source: str) -> tuple[Pictures, Pictures, list[str]]:
    """Training and test pictures, and the folders that they lie in."""
    top = _top(names, source)
    train = _pictures(names, f"{top}train/")
    folders = [f"{top}{folder}/" for folder in TEST_FOLDERS]
    start = next((folder for folder in folders if _pictures(names, folder)), folders[0])
    test = _pictures(names, start)
    for what, pictures in (("train", train), ("test (or val)", test)):
        if not pictures:
            advice = "" if test else WITHOUT_SPLITS
            expected = f"expected {what}/<class>/<picture>"
            raise DataError(f"{source}: no pictures in {what}{_seen(names, top)}; {expected}{advice}")
    return train, test, [f"{top}train/", start]


def in_order(classes: Iterable[str]) -> list[str]:
    """Class names in the order of their labels: by value where all are whole numbers, else by their letters."""
    names = sorted(classes)
    if all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=lambda name: (len(name.lstrip("0")), name.lstrip("0")))
    return names


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _top(names: Sequence[str], source: str) -> str:
    """The folder above `train/` with a slash, or "" if there is none."""
    tops = {"/".join(parts[: parts.index("train")]) for name in names if "train" in (parts := name.split("/")[:2])}
    if "" in tops or not tops:
        return ""
    if len(tops) > 1:
        raise DataError(f"{source}: several folders hold a `train`: {', '.join(sorted(tops))}; name one in `path`")
    return f"{tops.pop()}/"


def _class_parent(names: Sequence[str]) -> str:
    """The folder that holds the class folders, with a slash, or "" for the top: one folder above them is allowed."""
    tops = {name.partition("/")[0] for name in names if _is_picture(name) and not _is_hidden(name)}
    start = f"{tops.pop()}/" if len(tops) == 1 else ""
    return start if start and any("/" in place.file for place in _pictures(names, "").values()) else ""


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # a Path would take ten times as long


def _is_picture(name: str) -> bool:
    return _suffix(name) in suffixes()


def _is_plain(name: str) -> bool:
    """Whether a name is text without control characters. Bytes that are not UTF-8 are lone surrogates in it."""
    return name.isprintable() or not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name


def _pictures(names: Sequence[str], start: str) -> Pictures:
    """The place of each picture in a class folder below the folder `start`, by its name."""
    below = ((name, name[len(start) :].partition("/")) for name in names if name.startswith(start))
    return {
        name: Place(composed(label), composed(file))
        for name, (label, _, file) in below
        if file and _is_picture(file) and not _is_hidden(f"{label}/{file}")
    }


def _divided(names: Sequence[str], source: str, share: float, seed: int) -> tuple[Pictures, Pictures, list[str]]:
    """The pictures of a folder without test pictures, divided: training, test, and the folder that they lie in."""
    top = _top(names, source)
    for folder in TEST_FOLDERS:
        if _pictures(names, f"{top}{folder}/"):
            raise DataError(f"{source}: has pictures in {folder}/, so it has splits already; leave `split` out")
    start = f"{top}train/" if _pictures(names, f"{top}train/") else _class_parent(names)
    pictures = _pictures(names, start)
    by_class: dict[str, list[str]] = {}
    for name in sorted(pictures, key=lambda name: _digest(f"{seed}/{'/'.join(pictures[name])}")):
        by_class.setdefault(pictures[name].label, []).append(name)
    if odd := sorted(by_class.keys() & SPLIT_NAMES):
        raise DataError(f"{source}: the folder {odd[0]!r} looks like a split, not a class; {LAYOUT}")
    test: set[str] = set()
    for label, members in by_class.items():
        if len(members) < 2:
            raise DataError(f"{source}: class {label!r} has one picture; `split` needs two of each class or more")
        test |= set(members[: min(max(round(len(members) * share), 1), len(members) - 1)])
    parts = ({name: at for name, at in pictures.items() if (name in test) == is_test} for is_test in (False, True))
    return next(parts), next(parts), [start]


def _classes(train: Pictures, test: Pictures, source: str) -> list[str]:
    """The class names in the order of their labels, if both splits have the same."""
    labels = {place.label for place in train.values()}
    if odd := sorted({place.label for place in test.values()} ^ labels):
        missing = "test" if odd[0] in labels else "train"
        raise DataError(f"{source}: class {odd[0]!r} has no pictures in {missing}; both splits need the same classes")
    if len(labels) < 2:
        deeper = sorted({place.file.partition("/")[0] for place in train.values() if "/" in place.file})
        inside = f", with the folders {', '.join(map(repr, deeper[:3]))} in it" if deeper else ""
        advice = "move the class folders one level up" if deeper else "classes are told by their folders"
        raise DataError(f"{source}: one class only, {min(labels, default='')!r}{inside}; {LAYOUT}: {advice}")
    for pictures in (train, test):
        forms = Counter((place.label, place.file) for place in pictures.values())
        if twice := next((place for place, count in forms.items() if count > 1), None):
            problem = f"{'/'.join(twice)!r} is there in two Unicode forms of the same name"
            raise DataError(f"{source}: {problem}; remove or rename one")
    return in_order(labels)


def _seen(names: Sequence[str], top: str) -> str:
    """What lies there instead of what is looked for, for an error message."""
    tops = sorted({name[len(top) :].partition("/")[0] for name in names if not _is_hidden(name)})
    inside = ", ".join(map(repr, tops[:5])) + (f" and {len(tops) - 5} more" if len(tops) > 5 else "")
    return f" (there is {inside or 'nothing'})"


def _passed_over(names: Sequence[str], rows: Mapping[str, Row], read: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The number of files that are not read, and the first of them, by the reason."""
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        if name not in rows:
            reason = _reason(name, next((start for start in read if name.startswith(start)), None))
            count, first = found.get(reason, (0, name))
            found[reason] = count + 1, first
    return found


def _reason(name: str, start: str | None) -> str:
    if _is_hidden(name):
        return "hidden"
    if start is None:
        return "in no folder that is read"
    if not _is_picture(name):
        return f"suffix {_suffix(name) or 'missing'}"
    return "in no class folder"


def _refuse_lost_classes(names: Sequence[str], rows: Mapping[str, Row], read: Sequence[str], source: str) -> None:
    """Refuse class folders that have files, but no pictures: a class would be missing silently."""
    below = ((name, start) for start in read for name in names if name.startswith(start))
    folders = {name: f"{start}{name[len(start) :].partition('/')[0]}/" for name, start in below}
    with_pictures = {folders[name] for name in rows}
    for name, folder in folders.items():
        if folder not in with_pictures and name.startswith(folder) and not _is_hidden(name):
            problem = f"{folder} has no pictures, but {name[len(folder) :]!r}"
            raise DataError(f"{source}: {problem}; convert its files to PNG or JPEG, or remove the folder")
