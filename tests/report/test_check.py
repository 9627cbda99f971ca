import json
import math

import pyarrow.parquet as pq
import pytest

from boundcheck import tables
from boundcheck.cells.resolved import resolved_settings
from boundcheck.planning.grid import make_plan
from boundcheck.report.check import check
from boundcheck.report.result_folders import read_tables, seeds_of

SCHEMAS = {"checks": tables.CHECKS, "claims": tables.CLAIMS, "figures": tables.FIGURES, "runs": tables.RUNS}


@pytest.fixture(scope="session")
def checked(checked_scale):
    _, results = checked_scale
    return {name: pq.read_table(results / "gam" / f"{name}.parquet") for name in SCHEMAS}


def claim(checked, name):
    return next(row for row in checked["claims"].to_pylist() if row["claim"] == name)


def test_writes_four_tables_of_their_schemas(checked):
    for name, schema in SCHEMAS.items():
        assert checked[name].schema.equals(schema), name


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("zeroth_below_first", "supported"),
        ("curvature_bounds", "vacuous"),
        ("gam_generalises", "supported"),
        ("sam_generalises", "inconclusive"),
        ("adam_generalises", "contradicted"),
        ("gam_is_flatter", "supported"),
        ("entropy", "not run"),
    ],
)
def test_every_decision_is_reached(checked, name, decision):
    assert claim(checked, name)["decision"] == decision


def accuracies(results, cell, seed):
    """The test accuracies of one run in the order of training, straight from its file."""
    rows = pq.read_table(results / "gam" / cell / "seeds_0-2" / "curves.parquet").to_pylist()
    rows = [row for row in rows if row["seed"] == seed and row["quantity"] == "test_accuracy"]
    return [row["value"] for row in sorted(rows, key=lambda row: row["step"])]


def test_verdicts_carry_their_numbers(checked, checked_scale):
    row = claim(checked, "gam_generalises")
    differences = [
        accuracies(checked_scale[1], f"mnist5k/{model}/gam_exact", seed)[-1]
        - accuracies(checked_scale[1], f"mnist5k/{model}/sgd", seed)[-1]
        for model in ("mlp", "mlp_relu")
        for seed in (0, 2)  # the seeds that both cells have
    ]
    assert row["effect"] == pytest.approx(100 * sum(differences) / 4, rel=1e-12)
    assert row["low"] < row["effect"] < row["high"]
    assert (row["num_runs"], row["unit"], row["num_runs_needed"]) == (2, "points", None)  # seed 1 diverged in one cell
    assert "1 run diverged (mnist5k/mlp_relu/gam_exact 1)" in row["reason"]
    assert [cell["n"] for cell in json.loads(row["cells"])] == [3, 2]
    assert claim(checked, "sam_generalises")["num_runs_needed"] > 3


def test_broken_curves_contradict(scale, write_batch):
    spec, results = scale
    write_batch(results / "gam", "mnist5k/mlp/gam_exact", accuracy=0.80, zeroth=1.2)
    check(spec, results / "gam", results / "gam")
    checked = {"claims": pq.read_table(results / "gam" / "claims.parquet")}
    assert claim(checked, "zeroth_below_first")["decision"] == "contradicted"
    assert "mnist5k/mlp/gam_exact" in claim(checked, "zeroth_below_first")["reason"]
    assert claim(checked, "gam_generalises")["decision"] != "supported"


def test_checks_are_named_and_sorted(checked):
    rows = checked["checks"].to_pandas()
    assert set(rows["check"]) == {"ordered", "curvature"}
    # 6 cells of 3 seeds at 2 snapshots and 2 radii; the diverged run has only the first snapshot
    assert (rows["check"] == "ordered").sum() == (6 * 3 * 2 - 1) * 2
    order = list(
        zip(rows["check"], rows["theorem"], rows["model"], rows["method"], rows["seed"], rows["step"], strict=True)
    )
    assert order == sorted(order)
    smooth = rows[(rows["check"] == "curvature") & (rows["model"] == "mlp")]
    kinked = rows[(rows["check"] == "curvature") & (rows["model"] == "mlp_relu")]
    assert smooth["premise_holds"].all()
    assert smooth["holds"].all()
    assert kinked["holds"].isna().all()


def test_runs_are_done_diverged_missing_or_skipped(checked):
    runs = checked["runs"].to_pandas()
    assert runs["status"].value_counts().to_dict() == {"done": 17, "diverged": 1, "missing": 3, "skipped": 1}
    by_status = dict(list(runs.groupby("status")))
    assert by_status["diverged"]["reason"].tolist() == ["the loss is not finite"]
    assert set(by_status["missing"]["reason"]) == {"there is no provenance.json"}
    assert by_status["skipped"]["reason"].tolist() == ["no Langevin steps here"]


def test_run_table_has_the_last_and_best_numbers(checked, checked_scale):
    known = accuracies(checked_scale[1], "mnist5k/mlp/sgd", 2)
    run = next(r for r in checked["runs"].to_pylist() if (r["model"], r["method"], r["seed"]) == ("mlp", "sgd", 2))
    assert (run["test_accuracy_last"], run["test_accuracy_best"]) == (known[-1], max(known))
    assert run["train_loss_last"] == pytest.approx(
        2.3 * math.exp(-3) + 0.01 + 0.002 * math.cos(6 + 5 + sum(map(ord, "sgd")))
    )
    assert (run["epoch"], run["step"], run["wall_seconds"]) == (5.0, 100, 10.0)
    assert json.loads(run["method_spec"]) == {"name": "sgd", "kind": "sgd"}
    assert (run["code"], run["device"], run["num_parameters"]) == ("0123456789abcdef", "cpu", 1234)


def test_figures_belong_to_their_claims(checked):
    figures = checked["figures"].to_pandas()
    for row in checked["claims"].to_pylist():
        settings = json.loads(row["figures"])
        assert set(figures.loc[figures["claim"] == row["claim"], "figure"]) == set(range(len(settings)))
    assert set(figures["role"]) == {"measured", "bound", "upper bound", "lower bound"}


def test_equal_folders_give_equal_bytes(scale):
    spec, results = scale
    written = []
    for _ in range(2):
        check(spec, results / "gam", results / "gam")
        written.append([(results / "gam" / f"{name}.parquet").read_bytes() for name in SCHEMAS])
    assert written[0] == written[1]


def test_nothing_on_disk_is_no_error(scale, tmp_path):
    spec, _ = scale
    check(spec, tmp_path / "nowhere", tmp_path / "out")
    claims = pq.read_table(tmp_path / "out" / "claims.parquet").to_pandas()
    assert set(claims["decision"]) == {"not run"}
    assert claims["reason"].str.len().min() > 20
    assert set(pq.read_table(tmp_path / "out" / "runs.parquet")["status"].to_pylist()) == {"missing", "skipped"}


def test_every_paper_of_the_default_scale_without_a_result(root, tmp_path):
    plan = make_plan([root / "config/config.yaml"])
    plan.resolved = {batch.cell: resolved_settings(plan.measure_spec(f)) for f, batch in plan.batches.items()}
    assert len(plan.studies) == 4
    for study in plan.studies:
        check(plan.check_spec(study), tmp_path / "nowhere", tmp_path / study)
        claims = pq.read_table(tmp_path / study / "claims.parquet").to_pandas()
        assert len(claims) == len(plan.config["studies"][study]["claims"])
        assert set(claims["decision"]) == {"not run"}, study


def test_a_paper_without_batches_or_claims(tmp_path):
    check({"batches": [], "cells": {}, "skipped": [], "checks": {}, "claims": {}}, tmp_path, tmp_path)
    assert all(len(pq.read_table(tmp_path / f"{name}.parquet")) == 0 for name in SCHEMAS)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("curves.parquet", None, "there is no curves.parquet"),
        ("curves.parquet", b"PAR1 nonsense", "curves.parquet cannot be read"),
        ("provenance.json", b"{", "provenance.json cannot be read"),
    ],
)
def test_damaged_batches_are_missing_with_the_reason(scale, name, content, reason):
    spec, results = scale
    file = results / "gam" / "mnist5k/mlp/sam/seeds_0-2" / name
    file.unlink() if content is None else file.write_bytes(content)
    runs = read_tables(spec["batches"], spec["cells"], [], results / "gam").runs
    sam = runs[(runs["model"] == "mlp") & (runs["method"] == "sam")]
    assert set(sam["status"]) == {"missing"}
    assert sam["reason"].str.startswith(reason).all()


def test_missing_measurements_leave_the_runs_done(scale):
    spec, results = scale
    (results / "gam" / "mnist5k/mlp/sam/seeds_0-2/measurements.parquet").unlink()
    read = read_tables(spec["batches"], spec["cells"], [], results / "gam")
    sam = read.runs[(read.runs["model"] == "mlp") & (read.runs["method"] == "sam")]
    assert set(sam["status"]) == {"done"}
    assert set(sam["reason"]) == {"there is no measurements.parquet"}


def test_a_seed_that_was_not_trained_is_missing(scale):
    spec, results = scale
    file = results / "gam" / "mnist5k/mlp/sgd/seeds_0-2/provenance.json"
    provenance = json.loads(file.read_text())
    provenance["runs"].pop()
    file.write_text(json.dumps(provenance))
    runs = read_tables(spec["batches"][:1], spec["cells"], [], results / "gam").runs
    assert runs["status"].tolist() == ["done", "done", "missing"]


@pytest.mark.parametrize(
    ("batch", "seeds"), [("d/m/o/seeds_0-2", [0, 1, 2]), ("d/m/o/seeds_4-4", [4]), ("d/m/o/seeds_10", [10])]
)
def test_seeds_of(batch, seeds):
    assert seeds_of(batch) == seeds


def test_an_unknown_kind_is_named(tmp_path):
    spec = {"batches": [], "cells": {}, "skipped": [], "checks": {}, "claims": {"x": {"kind": "nonsense"}}}
    with pytest.raises(ValueError, match=r"nonsense.*theorem_holds"):
        check(spec, tmp_path, tmp_path)
