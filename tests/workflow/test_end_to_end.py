"""From the data to the report, in a copy of the project."""

import json
import os
import re
import shlex

import pandas as pd
import pytest

from boundcheck.planning.specs import read_spec

pytestmark = pytest.mark.xdist_group("finished")  # one worker, one finished run


def test_the_run_leaves_what_it_should(finished):
    batch = finished.folder / "results/small/gam/tiny_digits/tiny_mlp/gam_exact/seeds_0-2"
    assert {path.name for path in batch.iterdir()} == {
        "curves.parquet",
        "snapshots",
        "provenance.json",
        "measurements.parquet",
        "measure_provenance.json",
    }
    provenance = json.loads((batch / "provenance.json").read_text())
    assert [run["status"] for run in provenance["runs"]] == ["done"] * 3
    measurements = pd.read_parquet(batch / "measurements.parquet")
    assert {"sharpness", "first_order_flatness", "zeroth_order_flatness"} <= set(measurements.quantity)


def test_every_claim_has_a_verdict(finished):
    claims = pd.read_parquet(finished.folder / "results/small/gam/claims.parquet").set_index("claim")
    assert len(claims) >= 4
    assert set(claims.decision) <= {"supported", "contradicted", "inconclusive", "vacuous", "not run"}
    assert claims.loc["first_order_flatness_dominates", "decision"] == "supported"
    page = (finished.folder / "reports/small/index.html").read_text()
    for claim in claims.itertuples():
        assert claim.decision in page


def test_the_checks_were_made_on_every_snapshot(finished):
    checks = pd.read_parquet(finished.folder / "results/small/gam/checks.parquet")
    dominated = checks[checks.check == "zeroth_below_first"]
    assert len(dominated) == 2 * 3 * 2  # methods x seeds x snapshots, one radius
    assert dominated.holds.all()


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake("-n")


def test_a_second_report_has_equal_bytes(finished):
    page = finished.folder / "reports/small/index.html"
    before = page.read_bytes()
    finished.snakemake("--forcerun", "report")
    assert page.read_bytes() == before


def test_the_page_asks_nothing_of_the_network(finished):
    page = (finished.folder / "reports/small/index.html").read_text()
    assert not re.findall(r"""(?:src|srcset|data)\s*=\s*["']?https?://""", page)
    assert "<link" not in page
    assert "@import" not in page


def test_snakemakes_own_report_has_captions_and_categories(finished):
    finished.snakemake("--report", "snakemake_report.html")
    text = (finished.folder / "snakemake_report.html").read_text()
    for word in ("Report", "Figures", "Tables"):
        assert word in text


def test_a_job_repeats_from_the_first_line_of_its_log(finished, tmp_path):
    """The command, copied and run without Snakemake, gives the same bits."""
    cell = "small/gam/tiny_digits/tiny_mlp/sgd/seeds_0-2"
    words = shlex.split((finished.folder / f"logs/train/{cell}.log").read_text().splitlines()[0])
    assert words[:4] == ["python", "-m", "boundcheck", "train"]
    assert words[-2:] == ["--output", f"results/{cell}"]
    finished.boundcheck(*words[3:-1], str(tmp_path / "again"))
    for name in ("snapshots/epoch_2.safetensors", "curves.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (finished.folder / "results" / cell / name).read_bytes()


def test_every_job_reads_a_spec_that_is_named_by_its_content(finished):
    written = [*finished.folder.glob("results/small/specs/*"), *finished.folder.glob("data/specs/*")]
    named = {finished.folder / word for log in finished.folder.glob("logs/**/*.log") for word in spec_words(log)}
    assert set(written) == named
    assert all(read_spec(path) for path in written)
    assert len(written) == 1 + 2 + 2 + 1 + 1  # fetch, train, measure, check, report


def spec_words(log):
    words = shlex.split(log.read_text().splitlines()[0])
    return [words[words.index("--spec") + 1]]


def test_a_job_refuses_a_spec_that_was_changed(finished, tmp_path):
    project = finished.copied(tmp_path)
    (spec,) = project.folder.glob("data/specs/*")
    spec.write_text(spec.read_text() + " ")
    words = ["fetch", "--spec", str(spec), "--output", "data/digits/arrays.safetensors"]
    assert "was changed: the digest of its content" in project.boundcheck(*words, expect=1)


def test_provenance_and_tables_hold_all_settings(finished):
    runs = pd.read_parquet(finished.folder / "results/small/gam/runs.parquet")
    method = json.loads(runs.set_index("method").method_spec["gam_exact"].iloc[0])
    assert (method["rho"], method["form"], method["base"]["nesterov"]) == (0.1, "exact", False)
    assert set(runs.roles) == {'["main"]'}


def test_status_and_why_speak_of_the_finished_run(finished):
    overlays = ["--configfile", "config/test.yaml", "config/small.yaml"]
    assert "2 batches: 2 done" in finished.boundcheck("status", *overlays)
    said = finished.boundcheck("why", "gam/tiny_digits/tiny_mlp/sgd", *overlays)
    assert said.count("up to date") == 2
    said = finished.boundcheck("why", "gam/nothing", *overlays, expect=1)
    assert "near it: gam/tiny_digits/tiny_mlp/gam_exact, gam/tiny_digits/tiny_mlp/sgd" in said
    assert "Traceback" not in said


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="the tests run in one process")
def test_one_worker_has_all_that_share_the_run(request):
    """pytest-xdist hands its groups over in the names of tests, which not every pytest lets it change."""
    assert request.node.nodeid.endswith("@finished")


def test_a_job_of_a_cluster_reads_no_newer_spec_than_it_was_planned_with(finished, tmp_path):
    """It plans anew from a config that has changed meanwhile, and writes no spec of its own."""
    project = finished.copied(tmp_path)
    project.config["studies"]["gam"]["methods"] = {"sgd": {"lr": 0.2}}
    project.write_config("config/small.yaml", project.config)
    before = sorted(project.folder.glob("results/small/specs/*"))
    job = "train_batch:study=gam,dataset=tiny_digits,model=tiny_mlp,method=sgd,seeds=seeds_0-2"
    remote = ["--mode", "remote", "--no-hooks", "--nolock", "--force", "--allowed-rules", "train_batch"]
    project.snakemake(*remote, "--target-jobs", job, expect=1)
    log = (project.folder / "logs/train/small/gam/tiny_digits/tiny_mlp/sgd/seeds_0-2.log").read_text()
    assert "the config has changed since the run began; start Snakemake again" in log
    assert sorted(project.folder.glob("results/small/specs/*")) == before
