import json
import math
import shutil

import pyarrow.parquet as pq
import pytest

from boundcheck import tables
from boundcheck.cells.resolved import resolved_settings
from boundcheck.manifests import ResultError, read_manifest
from boundcheck.planning.grid import make_plan
from boundcheck.report.check import check
from boundcheck.report.result_folders import seeds_of

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
    assert set(by_status["missing"]["reason"]) == {"waiting"}
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


def test_a_scale_without_results_is_not_run(scale, tmp_path):
    spec, _ = scale
    spec["missing"] = dict.fromkeys(spec["batches"], "waiting")
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
        spec = plan.check_spec(study)
        check({**spec, "missing": dict.fromkeys(spec["batches"], "")}, tmp_path / "nowhere", tmp_path / study)
        claims = pq.read_table(tmp_path / study / "claims.parquet").to_pandas()
        assert len(claims) == len(plan.config["studies"][study]["claims"])
        assert set(claims["decision"]) == {"not run"}, study


def test_a_paper_without_batches_or_claims(tmp_path):
    check({"batches": {}, "cells": {}, "skipped": [], "checks": {}, "claims": {}}, tmp_path, tmp_path)
    assert all(len(pq.read_table(tmp_path / f"{name}.parquet")) == 0 for name in SCHEMAS)


SAM = "mnist5k/mlp/sam/seeds_0-2"


def damaged(content):
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


@pytest.mark.parametrize(
    "name", ["curves.parquet", "provenance.json", "measurements.parquet", "measure_provenance.json"]
)
@pytest.mark.parametrize(
    "damage", [None, lambda _: b"", lambda content: content[:99], damaged], ids=["gone", "empty", "cut", "one bit"]
)
def test_what_is_damaged_is_an_error_that_names_the_file_and_the_command(scale, name, damage):
    spec, results = scale
    file = results / "gam" / SAM / name
    file.write_bytes(damage(file.read_bytes())) if damage else file.unlink()
    with pytest.raises(
        ResultError, match=rf"{name}: .*; to make it again: rm -rf .*{SAM}/\S+, then the same snakemake"
    ):
        check(spec, results / "gam", results / "gam")
    assert not (results / "gam" / "claims.parquet").exists()


@pytest.mark.parametrize(("name", "other"), [("curves.parquet", "sgd"), ("measurements.parquet", "sgd")])
def test_the_file_of_another_cell_is_an_error(scale, name, other):
    spec, results = scale
    folder = results / "gam" / SAM
    shutil.copy(results / "gam" / SAM.replace("sam", other) / name, folder / name)
    with pytest.raises(ResultError, match=rf"{SAM}/{name}: damaged \(its sha256 begins with"):
        check(spec, results / "gam", results / "gam")


@pytest.mark.parametrize(
    "names", [["curves.parquet", "provenance.json"], ["measurements.parquet", "measure_provenance.json"]]
)
def test_the_files_of_another_cell_with_their_manifest_are_an_error(scale, names):
    spec, results = scale
    for name in names:
        shutil.copy(results / "gam" / SAM.replace("sam", "sgd") / name, results / "gam" / SAM / name)
    with pytest.raises(ResultError, match=rf"{SAM}/{names[1]}: made from other settings"):
        check(spec, results / "gam", results / "gam")


def test_measurements_of_other_weights_are_an_error(scale, reseal):
    spec, results = scale
    path = results / "gam" / SAM / "provenance.json"
    reseal(path, inputs={"dataset": "another"})
    with pytest.raises(ResultError, match=r"measurements.parquet: measured on other weights or data"):
        check(spec, results / "gam", results / "gam")


def test_results_of_other_code_are_a_warning(scale, reseal):
    spec, results = scale
    reseal(results / "gam" / SAM / "provenance.json", code="older")
    check(spec, results / "gam", results / "gam")
    (warning,) = read_manifest(results / "gam" / "check_provenance.json", "check")["warnings"]
    assert warning.startswith(f"1 of 7 batches were trained by another version of the code, such as {SAM};")


def test_batches_that_are_missing_or_unmeasured_are_told(scale):
    spec, results = scale
    (results / "gam" / SAM / "measurements.parquet").unlink()
    absent = {"missing": {**spec["missing"], SAM.replace("sam", "adamw"): "running"}, "unmeasured": {SAM: "trained"}}
    check({**spec, **absent}, results / "gam", results / "gam")
    runs = pq.read_table(results / "gam" / "runs.parquet").to_pandas()
    told = runs[runs["model"] == "mlp"].groupby("method")[["status", "reason"]].first()
    assert told.loc["sam"].tolist() == ["done", "trained"]
    assert told.loc["adamw"].tolist() == ["missing", "running"]


@pytest.mark.parametrize(
    ("batch", "seeds"), [("d/m/o/seeds_0-2", [0, 1, 2]), ("d/m/o/seeds_4-4", [4]), ("d/m/o/seeds_10", [10])]
)
def test_seeds_of(batch, seeds):
    assert seeds_of(batch) == seeds


def test_an_unknown_kind_is_named(tmp_path):
    spec = {"batches": {}, "cells": {}, "skipped": [], "checks": {}, "claims": {"x": {"kind": "nonsense"}}}
    with pytest.raises(ValueError, match=r"nonsense.*theorem_holds"):
        check(spec, tmp_path, tmp_path)
