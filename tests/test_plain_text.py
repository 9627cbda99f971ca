"""Text from outside cannot steer a terminal or a page."""

import sys

import pytest

from boundcheck.plain_text import LONGEST, one_line, plain, plain_output, shown

STEERING = {
    "\x1b[31mred": "\\x1b[31mred",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "a\rb": "a\\rb",
    "a\x00b": "a\\x00b",
    "a\x9bb": "a\\x9bb",
    "\u202etxt.exe": "\\u202etxt.exe",
    "\u2066a\u2069": "\\u2066a\\u2069",
    "a\u2028b": "a\\u2028b",
    "a\ud800b": "a\\ud800b",
    "\ufeffa\u200b": "\\ufeffa\\u200b",
    "a\U000e0041": "a\\U000e0041",
}


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_is_written_out(text):
    assert plain(text) == STEERING[text]
    plain(text).encode("utf-8")


@pytest.mark.parametrize(
    "text", ["", "ordinary", "two\nlines\tand a tab", "‖∇²f‖ ≤ B₂, −12.3 % – “é”", "日本語", "👩\u200d🔬"]
)
def test_other_text_stays(text):
    assert plain(text) == text


def test_one_line_is_one_line():
    assert one_line("a\nb\tc\r\nd") == "a\\nb\\tc\\r\\nd"
    assert one_line("a b") == "a b"


def test_a_long_value_is_cut():
    assert shown([1, "a"]) == "[1, 'a']"
    assert shown("é\n\u202e") == "'é\\n\\u202e'"
    assert shown("a" * 10**6).endswith("a… (1,000,002 characters)")
    assert len(shown("a" * 10**6)) < LONGEST + 40


def test_all_that_is_printed_inside_is_plain(capsys):
    with plain_output():
        print("\x1b[2Jout")
        print("\x1b[2Jerr", file=sys.stderr, flush=True)
        assert sys.stdout.encoding
    print("\x1b[2Jafter")
    out, err = capsys.readouterr()
    assert (out, err) == ("\\x1b[2Jout\n\x1b[2Jafter\n", "\\x1b[2Jerr\n")


def test_closed_streams_are_written_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with plain_output():
        print("a", flush=True)
        sys.stderr.flush()
    assert sys.stdout is None
