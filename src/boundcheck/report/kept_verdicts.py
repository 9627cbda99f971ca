"""The verdicts of a kept report in Markdown: for the README, which must not have them typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from boundcheck.report.page import DECISIONS
from boundcheck.report.wording import interval

START, END = "<!-- answers -->\n", "<!-- end of answers -->\n"


def latest_reference(folder: Path) -> Path:
    """The newest kept report of the default scale below reports/reference/.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(folder.glob("*-default"))
    if not found:
        raise FileNotFoundError(f"{folder}: no kept report of the default scale")
    return found[-1]


def answers(reference: Path) -> str:
    """Markdown: of each paper its counts, and of each claim its verdict with effect and interval."""
    verdicts = pd.read_csv(reference / "tables" / "verdicts.csv")
    return "\n".join(_paper(str(paper), rows) for paper, rows in verdicts.groupby("paper", sort=False))


def with_answers(text: str, reference: Path) -> str:
    """A Markdown page with the answers between its marks."""
    pattern = re.escape(START) + ".*?" + re.escape(END)
    return re.sub(pattern, lambda _: f"{START}\n{answers(reference)}\n{END}", text, flags=re.DOTALL)


def _paper(paper: str, rows: pd.DataFrame) -> str:
    counts = rows["decision"].value_counts()
    told = ", ".join(f"{counts[decision]} {decision}" for decision in DECISIONS if decision in counts)
    title = f"<details><summary><code>{paper}</code>: {told}</summary>\n"
    lines = [title, "| statement | verdict | effect |", "|---|---|---|"]
    for row in rows.to_dict("records"):
        effect = interval(row["effect"], row["low"], row["high"], row["unit"] if isinstance(row["unit"], str) else "")
        lines.append(f"| {row['statement'].replace('|', chr(92) + '|')} | {row['decision']} | {effect} |")
    return "\n".join([*lines, "\n</details>\n"])
