"""What `status` says of checks, reports and arrays."""

import shutil

import pytest

from boundcheck.jobs.later_stages import damaged_data, later_stages
from boundcheck.manifests import digest_of, write_manifest
from boundcheck.planning.grid import make_plan


@pytest.fixture
def plan(make_config):
    model, method = {"kind": "mlp", "depth": 1, "width": 6}, {"kind": "sgd", "lr": 0.1}
    block = {"datasets": ["digits"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3, "training": {"epochs": 1}}
    variants = {"datasets": {"digits": {"kind": "digits"}}, "models": {"mlp": model}, "methods": {"sgd": method}}
    plan = make_plan([make_config({"name": "tiny", **variants, "studies": {"gam": {"grid": [block]}}})])
    plan.resolved = {batch.cell: {} for batch in plan.batches.values()}
    return plan


@pytest.fixture
def checked(plan, tmp_path):
    """Write the tables and the manifest of a check, as of the plan but for some changes."""

    def checked(**changes):
        folder = tmp_path / "results/tiny/gam"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "claims.parquet").write_bytes(b"claims")
        content = {"spec_sha256": digest_of(plan.check_spec("gam")), "code": plan.check_code("gam"), **changes}
        write_manifest(folder / "check_provenance.json", "check", content, [folder / "claims.parquet"])
        return folder

    return checked


def test_of_what_is_whole_and_current_nothing_is_said(plan, checked, tmp_path):
    assert list(later_stages(plan, tmp_path)) == []
    checked()
    assert list(later_stages(plan, tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code": "older"}, "made by another version of the code"),
        ({"spec_sha256": "0"}, "made from other settings or results"),
    ],
)
def test_checks_of_other_code_or_settings_are_outdated(plan, checked, tmp_path, changes, said):
    checked(**changes)
    assert list(later_stages(plan, tmp_path)) == [("outdated", f"check of gam  {said}")]


def test_damaged_tables_and_reports_are_named(plan, checked, tmp_path):
    folder = checked()
    (folder / "claims.parquet").write_bytes(b"claimz")
    report = tmp_path / "reports/tiny"
    report.mkdir(parents=True)
    (report / "index.html").write_text("page")
    write_manifest(report / "provenance.json", "report", {}, [report / "index.html"])
    (report / "index.html").unlink()
    check, page = later_stages(plan, tmp_path)
    assert check[0] == page[0] == "damaged"
    assert check[1].startswith(f"check of gam  {folder}/claims.parquet: damaged (")
    assert page[1].startswith(f"report  {report}/index.html: does not exist")


def test_damaged_arrays_are_named(plan, arrays, tmp_path):
    folder = tmp_path / "data/digits"
    shutil.copytree(arrays.parent, folder)
    assert list(damaged_data(plan, tmp_path)) == []
    content = (folder / arrays.name).read_bytes()
    (folder / arrays.name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    ((word, said),) = damaged_data(plan, tmp_path)
    assert word == "damaged"
    assert said.startswith(f"data  {folder}/arrays.safetensors: its content has changed")
