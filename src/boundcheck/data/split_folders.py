"""Where the pictures of both splits lie in a folder or archive. The names of splits may be written in any case."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from boundcheck.data.errors import DataError, composed
from boundcheck.data.pictures import suffixes

NAMES = {"train": ("train",), "test": ("test",), "val": ("val", "valid", "validation")}  # of the folders of splits
TO_RENAME = {"training": "train", "testing": "test"}  # no class either
LAYOUT = "expected train/<class>/<picture> and test/<class>/<picture> (or val)"
TO_DIVIDE = "expected <class>/<picture> or train/<class>/<picture>, as `split` is set"
WITHOUT_SPLITS = "; for <class>/<picture> without splits set `split: 0.2`, the share of the test pictures"
LINK = "a link to a folder that is read under another name or lies above"


class Place(NamedTuple):
    """The class of a picture, and its path below the folder of the class; in Unicode's composed form (NFC)."""

    label: str
    file: str


Pictures = dict[str, Place]  # by the name of the file


@dataclass(frozen=True)
class Listing:
    """The files of a folder or archive, and its path for error messages.

    `links` are the folders that were passed over as links. `doubles` gives those of some names that are the same file
    as another one of them.
    """

    names: Sequence[str]
    path: str
    links: Sequence[str] = ()
    doubles: Callable[[Iterable[str]], Collection[str]] = lambda _: ()


class Splits(NamedTuple):
    """Training and test pictures, the folders that they lie in, and what is said to be expected."""

    train: Pictures
    test: Pictures
    read: Sequence[str]
    layout: str


def both_splits(listing: Listing) -> Splits:
    """The pictures of a folder that has splits."""
    top = _top(listing)
    found = _split_folders(listing, top)
    train, test = found.get("train"), found.get("test") or found.get("val")
    if train is None or test is None:
        missing, names = ("train", ("train",)) if train is None else ("test (or val)", ("test", "val"))
        spelled = {name for each in names for name in NAMES[each]}
        links = [link for link in links_in(listing, top) if link.rpartition("/")[2].casefold() in spelled]
        other = [name for name in _below(listing.names, top) if TO_RENAME.get(name.casefold()) in names]
        advice = "" if test else WITHOUT_SPLITS
        if links:
            advice = ": put a folder of pictures there instead of the link"
        elif other:
            advice = f": rename {other[0]!r} to {names[0]}"
        problem = f"no pictures in {missing}{seen(listing.names, top)}{told(links)}"
        raise DataError(f"{listing.path}: {problem}; expected {missing}/<class>/<picture>{advice}")
    return Splits(_without_doubles(listing, train), _without_doubles(listing, test), [train, test], LAYOUT)


def divided(listing: Listing, share: float, seed: int) -> Splits:
    """The pictures of a folder without test pictures, divided."""
    names, path = listing.names, listing.path
    top = _top(listing)
    found = _split_folders(listing, top)
    for split in ("test", "val"):
        if split in found:
            problem = f"has pictures in {found[split][len(top) :]}, so it has splits already"
            raise DataError(f"{path}: {problem}; leave `split` out")
    start = found.get("train") or _class_parent(names)
    pictures = _without_doubles(listing, start)
    by_class: dict[str, list[str]] = {}
    for name in sorted(pictures, key=lambda name: digest(f"{seed}/{'/'.join(pictures[name])}")):
        by_class.setdefault(pictures[name].label, []).append(name)
    of_splits = {*TO_RENAME, *(name for names in NAMES.values() for name in names)}
    if odd := sorted(label for label in by_class if label.casefold() in of_splits):
        problem = f"the folder {odd[0]!r} looks like a split, not a class"
        raise DataError(f"{path}: {problem}; {LAYOUT}: rename the folder, to another name if it is a class")
    test: set[str] = set()
    for label, members in by_class.items():
        if len(members) < 2:
            raise DataError(f"{path}: class {label!r} has one picture; `split` needs two of each class or more")
        test |= set(members[: min(max(round(len(members) * share), 1), len(members) - 1)])
    parts = ({name: at for name, at in pictures.items() if (name in test) == is_test} for is_test in (False, True))
    return Splits(next(parts), next(parts), [start], TO_DIVIDE)


def pictures_below(names: Sequence[str], start: str) -> Pictures:
    """The place of each picture in a class folder below the folder `start`, by its name."""
    below = ((name, name[len(start) :].partition("/")) for name in names if name.startswith(start))
    return {
        name: Place(composed(label), composed(file))
        for name, (label, _, file) in below
        if file and is_picture(file) and not is_hidden(f"{label}/{file}")
    }


def _without_doubles(listing: Listing, start: str) -> Pictures:
    """The pictures in the class folders below a folder, each file once in a class."""
    pictures, by_class = pictures_below(listing.names, start), dict[str, list[str]]()
    for name, place in pictures.items():
        by_class.setdefault(place.label, []).append(name)
    doubles = {name for members in by_class.values() for name in listing.doubles(members)}
    return {name: place for name, place in pictures.items() if name not in doubles}


def digest(text: str) -> bytes:
    """The sha256 that orders pictures."""
    return hashlib.sha256(text.encode()).digest()


def suffix(name: str) -> str:
    """The suffix of a file's name, in small letters."""
    return os.path.splitext(name)[1].lower()  # a Path would take ten times as long


def is_picture(name: str) -> bool:
    """Whether a file has the suffix of a picture."""
    return suffix(name) in suffixes()


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, begins with a point."""
    return name.startswith(".") or "/." in name


def seen(names: Sequence[str], top: str) -> str:
    """What lies there instead of what is looked for, for an error message."""
    tops = sorted({name[len(top) :].partition("/")[0] for name in names if not is_hidden(name)})
    inside = ", ".join(map(repr, tops[:5])) + (f" and {len(tops) - 5} more" if len(tops) > 5 else "")
    return f" (there is {inside or 'nothing'})"


def links_in(listing: Listing, start: str) -> list[str]:
    """The links directly in a folder, whose name ends with a slash unless it is the top, that were passed over."""
    return [link for link in listing.links if link[: link.rfind("/") + 1] == start]


def told(links: Sequence[str]) -> str:
    """What to add to an error that the first of these links is the cause of."""
    return f", and {links[0]!r} is {LINK}" if links else ""


def _below(names: Sequence[str], top: str) -> list[str]:
    """The folders directly in `top`."""
    visible = (name[len(top) :] for name in names if name.startswith(top) and not is_hidden(name))
    return sorted({name.partition("/")[0] for name in visible if "/" in name})


def _split_folders(listing: Listing, top: str) -> Mapping[str, str]:
    """The folder of each split that has pictures, with a slash."""
    found: dict[str, str] = {}
    for folder in _below(listing.names, top):
        for split, names in NAMES.items():
            if folder.casefold() in names and pictures_below(listing.names, f"{top}{folder}/"):
                if split in found:
                    both = f"{found[split]!r} and {f'{top}{folder}/'!r}"
                    advice = "put all of its pictures into one of them"
                    raise DataError(f"{listing.path}: {both} are both names of the split {split}; {advice}")
                found[split] = f"{top}{folder}/"
    return found


def _top(listing: Listing) -> str:
    """The folder above `train/` with a slash, or "" if there is none."""
    tops: dict[str, str] = {}
    links = (f"{link}/" for link in listing.links if link.count("/") < 2)
    for name in (*listing.names, *links):
        if is_hidden(name):
            continue
        parts = name.split("/", 2)[:-1]
        at = next((at for at, part in enumerate(parts) if part.casefold() == "train"), None)
        if at is not None:
            tops["".join(f"{part}/" for part in parts[:at])] = parts[at]
    if "" in tops or not tops:
        return ""
    if len(tops) > 1:
        folders = sorted(top.rstrip("/") for top in tops)
        named = ", ".join(folders[:5]) + (", ..." if len(folders) > 5 else "")
        problem = f"several folders hold a `train`: {named}"
        if not any(pictures_below(listing.names, f"{top}{train}/") for top, train in tops.items()):
            moved = f"move {folders[0]}/{tops[f'{folders[0]}/']} to train/{folders[0]}, and the others likewise"
            raise DataError(f"{listing.path}: {problem}; {LAYOUT}, not <class>/train/<picture>: {moved}")
        raise DataError(f"{listing.path}: {problem}; name one in `path`, if this is an archive after unpacking it")
    return next(iter(tops))


def _class_parent(names: Sequence[str]) -> str:
    """The folder that holds the class folders, with a slash, or "" for the top: one folder above them is allowed."""
    tops = {name.partition("/")[0] for name in names if is_picture(name) and not is_hidden(name)}
    start = f"{tops.pop()}/" if len(tops) == 1 else ""
    return start if start and any("/" in place.file for place in pictures_below(names, "").values()) else ""
