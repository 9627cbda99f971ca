"""The verdicts of a kept report in Markdown, to be inserted into pages."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from boundcheck.report.page import DECISIONS
from boundcheck.report.wording import interval


def latest_reference(folder: Path) -> Path:
    """The newest kept report of the default scale below reports/reference/.

    Raises:
        FileNotFoundError: there is none.
    """
    kept = sorted(folder.glob("*-default"))
    if not kept:
        raise FileNotFoundError(f"{folder}: no kept report of the default scale")
    return kept[-1]


def counts_table(reference: Path) -> str:
    """A Markdown table: the number of claims of each paper with each verdict."""
    counts = pd.crosstab(_verdicts(reference)["paper"], _verdicts(reference)["decision"])
    counts = counts.reindex(index=_verdicts(reference)["paper"].unique(), columns=list(DECISIONS), fill_value=0)
    rows = [
        f"| `{paper}` | {' | '.join(map(str, row))} |"
        for paper, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    total = f"| all | {' | '.join(map(str, counts.sum()))} |"
    return "\n".join([f"| | {' | '.join(DECISIONS)} |", f"|---|{'---|' * len(DECISIONS)}", *rows, total])


def verdict_tables(reference: Path) -> str:
    """Markdown: a table for each paper, with the verdict, effect and interval of each claim."""
    return "\n\n".join(_paper(str(paper), rows) for paper, rows in _verdicts(reference).groupby("paper", sort=False))


def with_section(text: str, name: str, content: str) -> str:
    """Replace what is between `<!-- name -->` and `<!-- end of name -->` in a page by `content`.

    Raises:
        ValueError: the page has no such comments.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", flags=re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"got a page without {start.strip()} and {end.strip()}; allowed: a page with both")
    return pattern.sub(lambda _: f"{start}\n{content}\n\n{end}", text)


def _verdicts(reference: Path) -> pd.DataFrame:
    return pd.read_csv(reference / "tables" / "verdicts.csv")


def _paper(paper: str, rows: pd.DataFrame) -> str:
    lines = [f"## `{paper}`", "", "| statement | verdict | effect |", "|---|---|---|"]
    for row in rows.to_dict("records"):
        effect = interval(row["effect"], row["low"], row["high"], row["unit"] if isinstance(row["unit"], str) else "")
        lines.append(f"| {_escaped(row['statement'])} | {row['decision']} | {_escaped(effect)} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
