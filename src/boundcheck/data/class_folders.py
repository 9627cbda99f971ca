"""Which pictures of a folder or archive are read: their splits, classes and rows, and what is passed over, and why."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from boundcheck.data.errors import DataError
from boundcheck.data.split_folders import (
    Listing,
    Splits,
    both_splits,
    digest,
    divided,
    is_hidden,
    is_picture,
    links_in,
    seen,
    suffix,
    told,
)

WHOLE = re.compile("-?[0-9]+")
DOUBLE = "a link to a picture of the class that is read under another name"


class Row(NamedTuple):
    """The row of the array file that a picture is written to, and its label."""

    is_train: bool
    number: int
    label: int


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


def find_pictures(
    names: Sequence[str],
    source: str,
    split: float | None = None,
    split_seed: int = 0,
    links: Sequence[str] = (),
    doubles: Callable[[Iterable[str]], Collection[str]] = lambda _: (),
) -> ClassFolders:
    """Find the pictures of both splits.

    Rows are ordered by the sha256 of `<class>/<file>`. With `split`, the pictures of a class are ordered by the sha256
    of `<split_seed>/<class>/<file>`; that share of them, rounded, from the first one on are test pictures.

    Args:
        names: the files of the directory or archive.
        source: its path, for error messages.
        split: share of the pictures of each class that are test pictures, where the folder has no test/ or val/.
        split_seed: another number gives another choice of test pictures.
        links: the folders that were passed over, because they are links to folders that are read anyway.
        doubles: gives those of the names of a class that are the same file as another one of them.

    Raises:
        DataError: a split has no pictures, there is one class only, the splits have different classes, a class has
            only folders, or a name is no text.
    """
    for name in names:
        if is_picture(name) and (fault := _fault(name)):
            raise DataError(f"{source}: the name {name!r} is not plain text{fault}; rename the file or its folder")
    listing = Listing(names, source, links, doubles)
    splits = both_splits(listing) if split is None else divided(listing, split, split_seed)
    classes = _classes(splits, listing)
    labels = {name: label for label, name in enumerate(classes)}
    rows: dict[str, Row] = {}
    for is_train, pictures in ((True, splits.train), (False, splits.test)):
        order = sorted(pictures, key=lambda name: digest("/".join(pictures[name])))
        rows |= {name: Row(is_train, index, labels[pictures[name].label]) for index, name in enumerate(order)}
    _refuse_lost_classes(names, rows, splits.read, source)
    return ClassFolders(classes, rows, _passed_over(names, rows, splits.read))


def in_order(classes: Iterable[str]) -> list[str]:
    """Class names in the order of their labels: by value where all are whole numbers, else by their letters."""
    names = sorted(classes)
    if all(WHOLE.fullmatch(name) for name in names):
        names.sort(key=Decimal)  # an int has no more than 4300 digits
    return names


def _fault(name: str) -> str:
    """Why a name is no plain text, or "". Bytes that are not UTF-8 are lone surrogates in it."""
    if name.isprintable():
        return ""
    kinds = {unicodedata.category(letter): letter for letter in name}
    if "Cs" in kinds:
        return " in UTF-8"
    return f": it holds the control character {kinds['Cc']!r}" if "Cc" in kinds else ""


def _classes(splits: Splits, listing: Listing) -> list[str]:
    """The class names in the order of their labels, if both splits have the same."""
    source, layout = listing.path, splits.layout
    labels = {place.label for place in splits.train.values()}
    linked = set.intersection(*({link[len(start) :] for link in links_in(listing, start)} for start in splits.read))
    odd = {place.label for place in splits.test.values()} ^ labels
    if len(splits.read) > 1:  # a class that is a link in both splits is missing in both
        odd |= linked - labels
    if odd:
        first = min(odd)
        missing, start = ("test", splits.read[-1]) if first in labels else ("train", splits.read[0])
        links = [link for link in listing.links if link == f"{start}{first}"]
        advice = "put a folder of pictures there instead of the link: " if links else ""
        problem = f"class {first!r} has no pictures in {missing}{told(links)}"
        raise DataError(f"{source}: {problem}; {advice}both splits need the same classes")
    if not labels:
        raise DataError(f"{source}: no pictures in class folders{seen(listing.names, '')}; {layout}")
    places = [place for pictures in (splits.train, splits.test) for place in pictures.values()]
    if len(labels) < 2:
        deeper = sorted({place.file.partition("/")[0] for place in places if "/" in place.file})
        inside = f", with the folders {', '.join(map(repr, deeper[:3]))} in it" if deeper else ""
        links = links_in(listing, splits.read[0])
        advice = "move the class folders one level up" if deeper else "classes are told by their folders"
        raise DataError(f"{source}: one class only, {min(labels)!r}{inside}{told(links)}; {layout}: {advice}")
    with_pictures = {place.label for place in places if "/" not in place.file}
    inner = sorted({place.file.partition("/")[0] for place in places if place.label not in with_pictures})
    if len(inner) > 1:  # one name, such as `images`, cannot be meant as a class
        problem = f"class {min(labels - with_pictures)!r} has no pictures of its own, only folders (there is "
        problem += f"{', '.join(map(repr, inner[:3]))})"
        raise DataError(f"{source}: {problem}; {layout}: move the class folders or the pictures one level up")
    for pictures in (splits.train, splits.test):
        forms = Counter((place.label, place.file) for place in pictures.values())
        if twice := next((place for place, count in forms.items() if count > 1), None):
            problem = f"{'/'.join(twice)!r} is there in two Unicode forms of the same name"
            raise DataError(f"{source}: {problem}; remove or rename one")
    return in_order(labels)


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
    if is_hidden(name):
        return "hidden"
    if start is None:
        return "in no folder that is read"
    if not is_picture(name):
        return f"suffix {suffix(name) or 'missing'}"
    return DOUBLE if "/" in name[len(start) :] else "in no class folder"


def _refuse_lost_classes(names: Sequence[str], rows: Mapping[str, Row], read: Sequence[str], source: str) -> None:
    """Refuse class folders that have files, but no pictures: a class would be missing silently."""
    below = ((name, start) for start in read for name in names if name.startswith(start))
    folders = {name: f"{start}{name[len(start) :].partition('/')[0]}/" for name, start in below}
    with_pictures = {folders[name] for name in rows}
    for name, folder in folders.items():
        if folder not in with_pictures and name.startswith(folder) and not is_hidden(name):
            problem = f"{folder} has no pictures, but {name[len(folder) :]!r}"
            raise DataError(f"{source}: {problem}; convert its files to PNG or JPEG, or remove the folder")
