"""The verdicts of a kept report, between the marks of a page."""

import pytest

from boundcheck.report.kept_verdicts import END, START, latest_reference, with_answers

ROWS = """paper,statement,decision,effect,low,high,unit
gam,A holds,supported,-12.345,-15.2,-9.5,%
gam,B | C,not run,,,,
dag,D,supported,,,,
"""


@pytest.fixture
def reference(tmp_path):
    for name in ("2026-01-02-cpu-default", "2026-02-01-cpu-default", "2026-03-01-gpu-cifar"):
        (tmp_path / name / "tables").mkdir(parents=True)
        (tmp_path / name / "tables/verdicts.csv").write_text(ROWS)
    return tmp_path


def test_the_newest_of_the_default_scale_is_taken(reference, tmp_path):
    assert latest_reference(reference).name == "2026-02-01-cpu-default"
    with pytest.raises(FileNotFoundError, match="no kept report"):
        latest_reference(tmp_path / "absent")


def test_a_page_is_filled_between_its_marks_and_filled_again(reference):
    page = f"before\n{START}stale\n{END}after\n"
    filled = with_answers(page, latest_reference(reference))
    assert filled.startswith("before\n")
    assert filled.endswith("after\n")
    assert "stale" not in filled
    assert "<code>gam</code>: 1 supported, 1 not run" in filled
    assert "| A holds | supported | −12.3 % [−15.2, −9.5] |" in filled
    assert "| B \\| C | not run | – |" in filled
    assert filled.index("<code>gam</code>") < filled.index("<code>dag</code>")
    assert with_answers(filled, latest_reference(reference)) == filled
