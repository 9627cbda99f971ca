"""Text from outside (configs, files, servers) as text that cannot steer a terminal or a page."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

LONGEST = 200  # characters of a value in a message
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but not \n and \t
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f"  # ends of lines, marks of direction
    "\xad\u200b\u2060-\u2065\ufeff\ud800-\udfff\U000e0000-\U000e007f]"  # what cannot be seen, or not encoded
)


def plain(text: str) -> str:
    """The text with its control characters written out, such as \\x1b and \\u202e; new lines and tabs stay."""
    return STEERING.sub(lambda match: _written_out(match[0]), text)


def one_line(text: str) -> str:
    """The text in one line: as `plain`, with new lines and tabs written out too."""
    return re.sub("[\n\t]", lambda match: _written_out(match[0]), plain(text))


def shown(value: object) -> str:
    """A value in a message: its `repr`, cut after LONGEST characters."""
    text = one_line(repr(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


@contextmanager
def plain_output() -> Iterator[None]:
    """All that is printed inside passes through `plain`."""
    with redirect_stdout(_opened(sys.stdout)), redirect_stderr(_opened(sys.stderr)):
        yield


def _opened(stream: TextIO | None) -> _Plain:
    """The stream, plain; nowhere if it is closed (`>&-`), for which Python has None."""
    return _Plain(open(os.devnull, "w", encoding="utf-8") if stream is None else stream)


class _Plain:
    """A stream that writes `plain` text to another stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(plain(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
