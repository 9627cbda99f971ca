import csv
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from boundcheck import tables
from boundcheck.manifests import ResultError, digest_of, verify_all
from boundcheck.report.check import check
from boundcheck.report.report import report

EMPTY = {"batches": {}, "cells": {}, "skipped": [], "checks": {}, "claims": {}}
TABLES = ("checks.parquet", "claims.parquet", "figures.parquet", "runs.parquet")
DECISIONS = ("supported", "contradicted", "inconclusive", "vacuous", "not run")
ALLOWED = re.compile(r"https://(arxiv\.org/abs|doi\.org)/")


class Page(HTMLParser):
    """What a browser would load, link and number."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.loads, self.links, self.ids = [], [], [], [], []
        self.captions, self.scrolls = [], []
        self._hidden = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._hidden += tag == "style"
        if tag == "caption":
            self.captions.append(dict(attributes))
        elif ("class", "scroll") in attributes:
            self.scrolls.append(dict(attributes))
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action"):
                self.loads.append(value)

    def handle_endtag(self, tag):
        self._hidden -= tag == "style"

    def handle_data(self, data):
        if not self._hidden:
            self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def damaged(content):
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


@pytest.fixture(scope="session")
def report_spec(statements, checked_scale):
    config = {"name": "test", "marker": "effective-config-é"}
    spec = {"scale": "test", "studies": ["gam"], "config": config, "statements": {"gam": statements}}
    return {**spec, "checks": {"gam": digest_of(checked_scale[0])}}


@pytest.fixture(scope="session")
def built(report_spec, checked_scale, tmp_path_factory):
    output = tmp_path_factory.mktemp("reports") / "test"
    report(report_spec, checked_scale[1], output)
    return output


@pytest.fixture(scope="session")
def page(built):
    return Page((built / "index.html").read_text(encoding="utf-8"))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_paper_is_introduced_where_its_claims_need_it(report_spec, tmp_path):
    check(EMPTY, tmp_path, tmp_path / "weight_norm")
    spec = {"studies": ["weight_norm"], "checks": {"weight_norm": digest_of(EMPTY)}}
    report(report_spec | spec, tmp_path, tmp_path / "other")
    words = Page((tmp_path / "other" / "index.html").read_text(encoding="utf-8")).words
    assert "The body of the paper could not be read" in words


def test_every_claim_stands_with_its_verdict_and_evidence(page, statements):
    for name, words in statements.items():
        assert page.words.count(words["statement"]) >= 2, name  # in the table of verdicts, and in its own section
        assert f"gam/{name}" in page.ids
        assert f"#gam/{name}" in page.links
    for decision in DECISIONS:
        assert decision in page.words
    assert "mnist5k/mlp/adamw" in page.words
    assert "no Langevin steps here" in page.words
    assert "the loss is not finite" in page.words
    assert "waiting" in page.words
    assert "0123456789abcdef" in page.words
    assert "torch 2.14.1" in page.words
    assert "effective-config-é" in page.words
    assert "not available" in page.words


def test_the_header_counts_the_verdicts(page):
    counts = re.findall(r"(\d+) ?(supported|contradicted|inconclusive|vacuous|not run)", page.words)
    assert counts[:5] == [
        ("3", "supported"),
        ("1", "contradicted"),
        ("1", "inconclusive"),
        ("1", "vacuous"),
        ("1", "not run"),
    ]


def test_the_page_asks_for_nothing_but_itself(page, built):
    text = (built / "index.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "base"} & set(page.tags)
    assert all(target.startswith("#") for target in page.loads)
    assert all(re.match(r"#|figures/|tables/", link) or ALLOWED.match(link) for link in page.links)
    assert any(ALLOWED.match(link) for link in page.links)
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_every_link_leads_somewhere(page, built):
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not ALLOWED.match(link):
            assert (built / link).is_file(), link


def test_tables_are_named_and_scrolled_by_the_keyboard(page):
    assert len(page.captions) == len(page.scrolls) == page.tags.count("table") > 5
    assert all(caption == {"class": "visually-hidden"} for caption in page.captions)
    assert all(scroll["tabindex"] == "0" and scroll["aria-label"] for scroll in page.scrolls)


def test_a_paper_leads_back_to_the_verdicts(page):
    assert page.links.count("#verdicts") == 1  # one paper


def test_the_words_of_the_verdicts_are_explained(page, built):
    assert page.links.count("#reading") == 2  # the contents, and the verdict table
    reading = (built / "index.html").read_text(encoding="utf-8").partition('id="reading"')[2]
    assert {"row", "premise", "snapshot", "cell", "Pooled", "n"} == set(re.findall("<b>(.+?)</b>", reading))
    for words in ("otherwise than by the side of 0", "Fisher’s z", "n − 2", "below 1, beyond the tolerance"):
        assert words in " ".join(reading.split())


def test_every_figure_has_a_name_and_a_file(page, built):
    svgs = sorted(file.stem for file in (built / "figures").iterdir())
    assert page.tags.count("svg") == len(svgs) >= 10
    assert page.tags.count("title") == 1 + len(svgs)
    assert "gam_zeroth_below_first_0" in svgs


def test_tables_are_numbers(built):
    with (built / "tables" / "verdicts.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 7
    assert float(rows["gam_generalises"]["low"]) > 0
    assert rows["gam_generalises"]["decision"] == "supported"
    names = {file.name for file in (built / "tables").iterdir()}
    assert {
        "gam_runs.csv",
        "gam_cells.csv",
        "gam_checks.csv",
        "gam_absent.csv",
        "gam_claim_gam_generalises.csv",
    } <= names
    assert len((built / "tables" / "gam_runs.csv").read_text().splitlines()) == 1 + 22


def test_equal_inputs_give_equal_bytes(built, report_spec, checked_scale, tmp_path):
    code = "import json, sys; from pathlib import Path; from boundcheck.report.report import report;"
    code += "report(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))"
    import json

    command = [sys.executable, "-c", code, json.dumps(report_spec), str(checked_scale[1]), str(tmp_path / "again")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "12345"})
    assert files(tmp_path / "again") == files(built)


def test_more_processes_draw_the_same_figures(built, report_spec, checked_scale, tmp_path):
    report(report_spec, checked_scale[1], tmp_path / "again", processes=2)
    assert files(tmp_path / "again") == files(built)


def test_what_is_stale_goes_and_the_rest_stays(report_spec, checked_scale, built, tmp_path):
    output = tmp_path / "test"
    shutil.copytree(built, output)
    (output / "figures" / "gam_old_0.svg").write_text("<svg/>")
    (output / "tables" / "old.csv").write_text("a\n")
    (output / "notes.txt").write_text("mine")
    report({**report_spec, "studies": []}, checked_scale[1], output)
    assert sorted(files(output)) == ["index.html", "notes.txt", "provenance.json", "tables/verdicts.csv"]


@pytest.mark.parametrize("name", [*TABLES, "check_provenance.json"])
@pytest.mark.parametrize("damage", [None, lambda content: content[:70], damaged], ids=["gone", "cut", "one bit"])
def test_damaged_tables_are_an_error_that_names_the_file(report_spec, checked_scale, tmp_path, name, damage):
    shutil.copytree(checked_scale[1] / "gam", tmp_path / "results" / "gam", ignore=shutil.ignore_patterns("mnist5k"))
    file = tmp_path / "results" / "gam" / name
    file.write_bytes(damage(file.read_bytes())) if damage else file.unlink()
    with pytest.raises(ResultError, match=rf"gam/{name}: .* to make it again: rm -rf .*results/gam/\S+, then"):
        report(report_spec, tmp_path / "results", tmp_path / "out")


def test_tables_of_other_settings_are_an_error(report_spec, checked_scale, tmp_path):
    with pytest.raises(ResultError, match="made from other settings"):
        report({**report_spec, "checks": {"gam": "another"}}, checked_scale[1], tmp_path / "out")


def test_the_report_has_a_manifest_of_all_its_files(built):
    listed = verify_all(built / "provenance.json", "report")["files"]
    files = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    assert set(listed) == files - {"provenance.json"}


def test_the_page_warns_of_checks_of_other_code(report_spec, checked_scale, reseal, tmp_path):
    shutil.copytree(checked_scale[1] / "gam", tmp_path / "results" / "gam", ignore=shutil.ignore_patterns("mnist5k"))
    reseal(tmp_path / "results" / "gam" / "check_provenance.json", code="older")
    for code, is_warned in (("older", False), ("newer", True)):
        report({**report_spec, "check_code": {"gam": code}}, tmp_path / "results", tmp_path / "out")
        page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
        assert ("The checks and claims were made by another version of the code;" in page.words) is is_warned


def test_the_page_warns_of_results_of_other_code(report_spec, checked_scale, reseal, tmp_path):
    shutil.copytree(checked_scale[1] / "gam", tmp_path / "results" / "gam", ignore=shutil.ignore_patterns("mnist5k"))
    reseal(tmp_path / "results" / "gam" / "check_provenance.json", warnings=["two batches are old"])
    report(report_spec, tmp_path / "results", tmp_path / "out")
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert "Warning. two batches are old." in page.words


def say(text, scale, results, reseal):
    """Copy the results of a scale, with this text as the reason and the unit of every claim."""
    shutil.copytree(scale, results)
    path = results / "gam" / "claims.parquet"
    rows = [{**row, "reason": text, "unit": text} for row in pq.read_table(path).to_pylist()]
    tables.write({name: [row[name] for row in rows] for name in tables.CLAIMS.names}, tables.CLAIMS, path)
    reseal(path.with_name("check_provenance.json"))


def test_text_is_escaped(report_spec, checked_scale, reseal, tmp_path):
    evil = '<script>alert("1")</script>'
    say(evil, checked_scale[1], tmp_path / "results", reseal)
    words = {"statement": evil, "reference": f"arXiv:2303.03108 {evil}"}
    statements = {"gam": dict.fromkeys(report_spec["statements"]["gam"], words)}
    report({**report_spec, "statements": statements}, tmp_path / "results", tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert evil in Page(text).words


def test_control_characters_do_not_reach_the_page_or_its_tables(report_spec, checked_scale, reseal, tmp_path):
    evil = "\x1b]0;owned\x07\x1b[2J a\r\u202egnp.exe"
    say(evil, checked_scale[1], tmp_path / "results", reseal)
    statements = {"gam": {claim: {"statement": evil, "reference": evil} for claim in report_spec["statements"]["gam"]}}
    config = {"name": evil}
    report({**report_spec, "statements": statements, "config": config}, tmp_path / "results", tmp_path / "out")
    written = [path.read_bytes().decode() for path in (tmp_path / "out").rglob("*.*")]
    assert sum("\\x1b]0;owned\\x07\\x1b[2J a\\r\\u202egnp.exe" in text for text in written) > 1
    assert all("\x1b" not in text and "\x07" not in text and "\u202e" not in text for text in written)
    assert all(text.replace("\r\n", "\n").count("\r") == 0 for text in written)


def test_a_study_without_a_paper_has_no_figure_of_a_paper(report_spec, checked_scale, tmp_path):
    shutil.copytree(checked_scale[1] / "gam", tmp_path / "results" / "own", ignore=shutil.ignore_patterns("mnist5k"))
    spec = {"studies": ["own"], "checks": {"own": report_spec["checks"]["gam"]}, "statements": {}}
    report({**report_spec, **spec}, tmp_path / "results", tmp_path / "out")
    words = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8")).words
    assert "the paper’s own figure" not in words


def test_an_unknown_paper_stands_under_its_key(tmp_path):
    check(EMPTY, tmp_path, tmp_path / "other")
    of_report = {"scale": "test", "studies": ["other"], "config": {}, "statements": {}}
    report({**of_report, "checks": {"other": digest_of(EMPTY)}}, tmp_path, tmp_path / "out")
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert "other" in page.ids
    assert "No claim is configured." in page.words


def test_a_browser_shows_it(built, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        assert os.environ.get("CI") != "true", "chromium must be there in continuous integration"
        pytest.skip("there is no chromium to show the page in")
    image = tmp_path / "page.png"
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet, "--hide-scrollbars"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2400", f"--screenshot={image}"]
    subprocess.run([*command, (built / "index.html").as_uri()], check=True, capture_output=True, timeout=120)
    from PIL import Image

    with Image.open(image) as shown:
        colours = {colour for _, colour in shown.convert("RGB").getcolors(2**24)}
    assert shown.size == (1200, 2400)
    assert {(0x12, 0x74, 0x4A), (0xB3, 0x26, 0x1E)} <= colours  # the tones of supported and contradicted
    assert (0x1F, 0x7F, 0xBF) in colours  # the first series of a figure
