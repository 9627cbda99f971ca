"""Configs that could hang, fill memory or be misread: each is one line with its file, and is told at once."""

import os
import resource
from pathlib import Path

import pytest

from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import MAX_RUNS, make_plan
from boundcheck.planning.sweeps import MAX_MEMBERS
from boundcheck.planning.yaml_files import MAX_BYTES, MAX_DEPTH, MAX_LINES, MAX_VALUES

GOOD = """name: mine
datasets: {tiny: {kind: digits}}
models: {net: {kind: mlp, depth: 1, width: 8}}
methods: {descent: {kind: sgd, lr: 0.1}}
studies:
  own:
    grid:
      - {datasets: [tiny], models: [net], methods: [descent], seeds: 3, training: {epochs: 2}}
"""
NINES = "9" * 400
LINE = "name: mine\n"


def good_with(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def bomb(first, link):
    """Fourteen anchors, each made of four aliases of the one before: 4^14 values."""
    links = [f"x{i}: &x{i} {link.replace('*', f'*x{i - 1}')}\n" for i in range(1, 15)]
    return f"x0: &x0 {first}\n{''.join(links)}{GOOD}"


def numbers(how_many):
    return ",".join(map(str, range(1, how_many + 1)))


def claims(text):
    return good_with("    grid:", f"    claims: {text}\n    grid:")


def table(axes, options=10, more=""):
    option = ", ".join(f"o{j}: {{}}" for j in range(options))
    each = ", ".join(f"a{i}: {{{option}}}" for i in range(axes))
    return claims(f"{{t: {{kind: theorem_holds, each: {{{each}}}{more}}}}}")


LEVELS = f"more than {MAX_DEPTH} levels"
VALUES = f"more than {MAX_VALUES:,} values once its aliases"
HOSTILE = {  # the file's content, and what the line says
    "a list of lists": (f"{LINE}models: {'[' * 10_000}{']' * 10_000}\n", f"line 2: {LEVELS}"),
    "a mapping of mappings": (f"{LINE}models: {'{a: ' * 10_000}1{'}' * 10_000}\n", f"line 2: {LEVELS}"),
    "a stack of libyaml's": (f"{LINE}models: {'[' * 100_000}\n", LEVELS),
    "a list in one line": (f"{LINE}models:\n  {'- ' * 10_000}1\n", f"line 3: {LEVELS}"),
    "an indented mapping": (f"{LINE}{''.join(' ' * i + 'a:' + chr(10) for i in range(1_000))}", LEVELS),
    "levels by aliases": (
        "x0: &x0 {a: 1}\n" + "".join(f"x{i}: &x{i} {{a: *x{i - 1}}}\n" for i in range(1, 99)) + GOOD,
        f"it holds more than {MAX_DEPTH} levels",
    ),
    "aliases of lists": (bomb("[1, 1, 1, 1]", "[*, *, *, *]"), VALUES),
    "aliases of mappings": (bomb("{a: 1}", "{a: *, b: *, c: *, d: *}"), VALUES),
    "aliases merged": (bomb("{a: 1}", "{<<: [*, *, *, *]}"), VALUES),
    "a mapping in itself": (f"{LINE}models: &a {{b: *a}}\n", "line 2: models.b: it holds itself, through an alias"),
    "a list in itself": (f"{LINE}models: &a [*a]\n", "line 2: models[0]: it holds itself, through an alias"),
    "a mapping merged into itself": (f"{LINE}models: &a {{<<: *a}}\n", "line 2: models.<<: it holds itself"),
    "a merged number": (f"{LINE}models: {{<<: 3}}\n", "not valid YAML: while constructing a mapping in line 2"),
    "a merged list of numbers": (f"{LINE}models: {{<<: [3]}}\n", "expected a mapping for merging, but found scalar"),
    "a key twice": (f"{LINE}name: other\n", "the key 'name' occurs twice, in lines 1 and 2"),
    "a tab": (f"{LINE}models:\n\tb: 1\n", "not valid YAML: while scanning for the next token"),
    "UTF-16": (GOOD.encode("utf-16"), "is no text in UTF-8 (byte 0xff at 0); save it as UTF-8"),
    "Latin-1": ("name: é\n".encode("latin-1"), "is no text in UTF-8 (byte 0xe9 at 6)"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "is no text in UTF-8 (byte 0x89 at 0)"),
    "a zero byte": (f"{LINE}models: \0\n", "control characters are not allowed"),
    "nothing": ("", "must be a mapping of keys, got NoneType"),
    "a comment": ("# nothing\n", "must be a mapping of keys, got NoneType"),
    "a list": ("- a\n- b\n", "must be a mapping of keys, got list"),
    "a text": ("just words\n", "must be a mapping of keys, got str"),
    "two documents": (f"{LINE}---\n{LINE}", "expected a single document"),
    "an unknown alias": (f"{LINE}models: *nope\n", "found undefined alias in line 2, column 9"),
    "10 MB": (f"{GOOD}# {'a' * 10_000_000}\n", f"has more than {MAX_BYTES:,} bytes"),
    "a key that is a number": (good_with("  own:", "  7:"), "line 6: studies: got the key 7, which YAML reads as a"),
    "a key that is a truth": (f"{GOOD}on: 1\n", "the key on, which YAML reads as true or false; allowed: a name, in q"),
    "a key that is null": (f"{GOOD}null: 1\n", "got the key null, which YAML reads as null"),
    "a key that is a date": (f"{GOOD}2020-01-01: 1\n", "got the key 2020-01-01, which YAML reads as a date"),
    "a key that is a list": (f"{GOOD}? [a, b]\n: 1\n", "got a list or a mapping as a key; allowed: a name"),
    "a date": (good_with("epochs: 2", "epochs: 2020-01-01"), "grid[0].training.epochs: got '2020-01-01', which YAML"),
    "a month 13": (good_with("epochs: 2", "epochs: 2020-13-45"), "which YAML reads as a date"),
    "a set": (f"{LINE}models: !!set {{a, b}}\n", "line 2: models: got a set; allowed: a list or a mapping"),
    "an ordered mapping": (f"{LINE}models: !!omap [a: 1]\n", "line 2: models: got an ordered mapping"),
    "bytes": (good_with("0.1", "!!binary aGVsbG8="), "methods.descent.lr: got 'aGVsbG8=', which YAML reads as bytes"),
    "an object": (
        good_with("0.1", '!!python/object/apply:os.system ["touch owned"]'),
        "methods.descent.lr: got a value with the tag 'python/object/apply:os.system'",
    ),
    "a tag of one's own": (good_with("0.1", "!mine 3"), "a value with the tag '!mine'"),
    "no integer": (good_with("epochs: 2", "epochs: !!int abc"), "epochs: got 'abc'; allowed after this tag: a whole"),
    "no truth": (good_with("0.1", "!!bool abc"), "lr: got 'abc'; allowed after this tag: true or false"),
    "400 digits": (good_with("epochs: 2", f"epochs: {NINES}"), "training.epochs: got a number of 400 digits; allowed"),
    "5,000 digits": (good_with("0.1", "9" * 5_000), "methods.descent.lr: got a number of 5000 digits"),
    "400 digits and a fraction": (
        good_with("0.1", f"{NINES}.5"),
        "lr: got a number of 402 digits; allowed: at most 40",
    ),
    "true as a class": (
        good_with("digits", "digits, positive: [yes]"),
        "got True; allowed: a whole number >= 0 or a text",
    ),
    "a share of a class": (
        good_with("digits", "digits, positive: [1.0]"),
        "got 1.0; allowed: a whole number >= 0 or a",
    ),
    "400 hexadecimal digits": (good_with("0.1", f"0x{NINES}"), "methods.descent.lr: got a number of 402 digits"),
    "2^63": (good_with("seeds: 3", f"seeds: {2**63}"), "allowed: whole numbers below 2^63"),
    "base 60": (good_with("epochs: 2", "epochs: 1:30"), 'got 1:30, which YAML reads as 90; write 90, or "1:30"'),
    "octal": (good_with("epochs: 2", "epochs: 010"), 'got 010, which YAML reads as 8; write 8, or "010"'),
    "NaN": (good_with("0.1", ".nan"), "methods.descent.lr: got nan; allowed: a number > 0"),
    "infinity": (good_with("0.1", "1.0e+400"), "methods.descent.lr: got inf; allowed: a number > 0"),
    "1e400": (good_with("0.1", "1e400"), "methods.descent.lr: got '1e400'; allowed: a number > 0"),
    "a name that is a truth": (good_with("name: mine", "name: no"), "name: got False; allowed: a name"),
    "a name that leads away": (good_with("name: mine", "name: ../up"), "name: got '../up'; allowed: a name"),
    "a name that steers": (good_with("name: mine", 'name: "\\e[31m"'), "name: got '\\x1b[31m'; allowed: a name"),
    "a key that steers": (f'{GOOD}"\\e]0;x\\a\\r\\nb\\u202e": 1\n', "\\x1b]0;x\\x07\\r\\nb\\u202e: unknown key"),
    "a long name": (good_with("name: mine", f"name: {'a' * 500_000}"), "a… (500,002 characters); allowed: a name"),
    "negative seeds": (good_with("seeds: 3", "seeds: -3"), "grid[0].seeds: got -3; allowed: a whole number >= 1"),
    "10^5 seeds": (good_with("seeds: 3", "seeds: 99999"), f"are 99,999 runs; allowed: at most {MAX_RUNS:,}"),
    "10^12 seeds at once": (good_with("seeds: 3", "seeds: 999999999999, seeds_per_job: 999999999999"), "runs; allowed"),
    "a sweep of 10^6": (
        good_with("width: 8", f"sweep: {{width: [{numbers(1000)}], depth: [{numbers(1000)}]}}"),
        f"models.net.sweep: up to here, the sweeps of models make 1,000,000 variants; allowed: at most {MAX_MEMBERS:,}",
    ),
    "a sweep of 10^30": (
        good_with("width: 8", f"sweep: {{{', '.join(f'k{i}: [{numbers(10)}]' for i in range(30))}}}"),
        "variants; allowed",
    ),
    "a sweep that repeats": (good_with("width: 8", "sweep: {width: [8, 8]}"), "makes 'net_width8', which is already"),
    "a grid of 10^6": (
        good_with("width: 8", f"sweep: {{width: [{numbers(1000)}]}}").replace(
            "lr: 0.1", f"sweep: {{lr: [{numbers(1000)}]}}"
        ),
        f"studies.own.grid[0]: its cells times its seeds are 3,000,000 runs; allowed: at most {MAX_RUNS:,}",
    ),
    "too many snapshots": (good_with("seeds: 3", f"seeds: 3, snapshots: [{numbers(2_000)}]"), "a list of at most 1000"),
    "epochs of 5,000 digits": (good_with("0.1", f"0.1, training: {{epochs: x{'9' * 5000}}}"), "training.epochs: got"),
    "a table of 10^6 claims": (table(6), "claims.t.each: makes 1,000,000 claims; allowed: at most 1,000"),
    "a table of 10^30 claims": (table(30), "claims; allowed: at most 1,000"),
    "a width of 10^9": (table(1, more=', statement: "{a0:>1000000000}"'), "allowed in braces: a0"),
    "an attribute": (table(1, more=', statement: "{a0.__class__}"'), "allowed in braces: a0"),
    "a long template": (table(1, more=f", statement: '{'{a0}' * 20_000}'"), "got a template of 80,000 characters"),
    "an option that is a list": (table(1, more=", except: [{a0: [[o1]]}]"), "t: a0: got ['o1']; allowed: o0, o1"),
    "claims that are a number": (claims("3"), "studies.own.claims: got 3; allowed: a mapping"),
    "a study at a device": (f"{LINE}studies: {{own: /dev/zero}}\n", "/dev/zero: cannot be read: it is a pipe or a de"),
    "a study at a folder": (f"{LINE}studies: {{own: .}}\n", "cannot be read: it is a folder; allowed: a YAML file"),
    "a study without a file": (f"{LINE}studies: {{own: nope.yaml}}\n", "nope.yaml: cannot be read (No such file"),
    "a study with a zero byte": (f'{LINE}studies: {{own: "a\\0b"}}\n', "cannot be read (embedded null byte)"),
    "101 studies": (
        f"{GOOD}{''.join(f'  s{i}: {{}}{chr(10)}' for i in range(100))}",
        "a mapping from names to studies, at most 100",
    ),
}


@pytest.fixture(autouse=True)
def limited_memory():
    """A config that fills memory fails its test, and not the machine."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


@pytest.fixture
def problem(tmp_path):
    """The message of the error for a config of this content."""

    def problem(content):
        file = tmp_path / "config.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ConfigError) as caught:
            make_plan([file])
        assert str(file) in str(caught.value)
        return str(caught.value)

    return problem


def test_the_config_that_the_others_spoil_is_good(make_config):
    assert len(make_plan([make_config(GOOD)]).batches) == 1
    assert len(make_plan([make_config("\ufeff" + GOOD)]).batches) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_is_one_line(problem, name):
    content, words = HOSTILE[name]
    message = problem(content)
    assert words in message
    assert len(message.splitlines()) == 1
    assert len(message) < 1_000
    assert message.isprintable()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "it is a pipe or a device; allowed: a YAML file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a pipe or a device; allowed: a YAML file"),
        (lambda path: path.mkdir(), "it is a folder; allowed: a YAML file"),
        (lambda path: path.symlink_to(path.name), "cannot be read (Too many levels of symbolic links)"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read (No such file or directory)"),
    ],
    ids=["a pipe", "a device", "a folder", "a link to itself", "a link to nothing"],
)
def test_what_is_no_file_is_not_read(tmp_path, make, words):
    make(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: ") as caught:
        make_plan([tmp_path / "config.yaml"])
    assert words in str(caught.value)


def test_many_mistakes_are_not_all_told(problem):
    lines = problem(GOOD + "".join(f"k{i}: 1\n" for i in range(1_000))).splitlines()
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == f"and {1_000 - MAX_LINES} more mistakes"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seeds_per_job": 10**400}, "--config: got a whole number of 2^63 or more"),
        ({"studies": {"own": {"grid": NINES}}}, "--config: studies.own.grid: got '9999"),
        ({"name": "2020-01-01"}, "--config: name: got '2020-01-01'; allowed: a name"),
        ({"name": "[" * 100_000}, "--config: name: got '[[["),
        ({"models\x1b[31m": 1}, "--config: models\\x1b[31m: unknown key"),
    ],
)
def test_hostile_values_of_the_command_line(make_config, values, words):
    with pytest.raises(ConfigError) as caught:
        make_plan([make_config(GOOD)], values)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_values_of_the_command_line_have_levels_too(make_config):
    value = {}
    for _ in range(1_000):
        value = {"a": value}
    with pytest.raises(ConfigError, match=f"--config: got {LEVELS}"):
        make_plan([make_config(GOOD)], {"models": value})


def test_a_number_in_quotes_is_a_name(make_config):
    text = good_with("name: mine", 'name: "mine"').replace("net", '"a1"')
    assert [batch.model for batch in make_plan([make_config(text)]).batches.values()] == ["a1"]
