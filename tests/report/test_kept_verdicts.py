"""The verdicts of a kept report, between the marks of a page."""

import pytest

from boundcheck.jobs.command_line import main
from boundcheck.report.kept_verdicts import latest_reference, with_section

ROWS = """paper,statement,decision,effect,low,high,unit
gam,A holds,supported,-12.345,-15.2,-9.5,%
gam,B | C,not run,,,,
dag,D,supported,,,,
"""


@pytest.fixture
def reference(tmp_path):
    for name in ("2026-01-02-cpu-default", "2026-02-01-cpu-default", "2026-03-01-gpu-cifar"):
        (tmp_path / name / "tables").mkdir(parents=True)
        (tmp_path / name / "tables/verdicts.csv").write_text(ROWS if "02-01" in name else "stale")
    (tmp_path / "README.md").write_text("before\n<!-- verdicts -->\nstale\n<!-- end of verdicts -->\nafter\n")
    (tmp_path / "page.md").write_text("<!-- counts -->\n<!-- end of counts -->\n")
    return tmp_path


def test_the_newest_of_the_default_scale_is_taken(reference, tmp_path):
    assert latest_reference(reference).name == "2026-02-01-cpu-default"
    with pytest.raises(FileNotFoundError, match="no kept report"):
        latest_reference(tmp_path / "absent")


def test_the_pages_are_filled_and_filled_again(reference):
    command = ["reference", "--reports", str(reference), "--readme", str(reference / "page.md")]
    for _ in range(2):
        assert main(command) == 0
        tables, counts = (reference / "README.md").read_text(), (reference / "page.md").read_text()
        assert tables.startswith("before\n<!-- verdicts -->\n\n## `gam`\n")
        assert tables.endswith("<!-- end of verdicts -->\nafter\n")
        assert "stale" not in tables
        assert "| A holds | supported | −12.3 % [−15.2, −9.5] |" in tables
        assert "| B \\| C | not run | – |" in tables
        assert tables.index("## `gam`") < tables.index("## `dag`")
        assert "| `gam` | 1 | 0 | 0 | 0 | 1 |\n| `dag` | 1 | 0 | 0 | 0 | 0 |\n| all | 2 | 0 | 0 | 0 | 1 |\n" in counts


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="without <!-- counts -->"):
        with_section("text", "counts", "content")
