"""What the pages for readers say can be done, and that what they point to is there."""

import re
import runpy
import sys
import textwrap
from itertools import pairwise

import pytest
import torch
import yaml

from boundcheck.contracts import Dataset
from boundcheck.data import arrays
from boundcheck.data.sizes import Sizes
from boundcheck.jobs.validate import validate
from boundcheck.optional_members import KnowsSizes
from boundcheck.planning.grid import make_plan
from boundcheck.planning.schema import schema
from boundcheck.report.kept_verdicts import counts_table, latest_reference, verdict_tables, with_section

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "config/README.md",
    "workflow/profiles/README.md",
    "benchmarks/README.md",
    "reports/reference/README.md",
)


def code_of(text):
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))


def test_the_examples_run(root):
    example = code_of((root / "README.md").read_text().partition("## Use the parts alone")[2].partition("\n## ")[0])
    example += "\n" + code_of((root / "CONTRIBUTING.md").read_text().partition("## More library examples")[2])
    torch.manual_seed(0)
    names = {
        "model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4), torch.nn.BatchNorm1d(4)),
        "images": torch.randn(8, 1, 4, 4),
        "labels": torch.randint(4, (8,)),
    }
    before = names["model"][1].weight.detach().clone()
    exec(example, names)
    assert not torch.equal(before, names["model"][1].weight)
    assert names["model"][2].num_batches_tracked == 1
    assert set(names["layers"][1].weight.unique().tolist()) == {-1.0, 1.0}
    losses = names["losses"]
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert (names["B2"].hessian <= names["B1"].hessian).all()
    assert (names["B1"].hessian <= names["B0t"].hessian).all()


def config_examples(page):
    """The code of the page about configs, block by block: what is indented, without the indentation."""
    blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", page, flags=re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def comparison(**settings):
    return {"kind": "lower_value", "quantity": "train_loss", "baseline": {"kind": "sgd"}, **settings}


def test_the_examples_of_configs_are_valid(root, make_config):
    """The study of one's own with each piece that the page adds to it, and its selectors and baselines."""
    examples = config_examples((root / "config/README.md").read_text())
    (study,) = (example for example in examples if "\nname: widths" in f"\n{example}")
    added = [block for block in examples if re.match(r"(analyses|checks|claims):\n", block)]
    lines = re.findall(r"^(?:methods|training|baseline): .*", "\n".join(examples), flags=re.MULTILINE)
    claims = {f"line{number}": comparison(**yaml.safe_load(line)) for number, line in enumerate(lines)}
    assert len(added) == 3
    assert len(claims) == 7
    files = [study, *(study + textwrap.indent(block, " " * 4) for block in added)]
    files[2] = files[2].replace("analyses: [spectrum]", "analyses: [spectrum, flatness]")
    files.append(study + textwrap.indent(yaml.safe_dump({"claims": claims}), " " * 4))
    for number, text in enumerate(files):
        text = text.replace("gam_*", "sam*")  # the study has no method of the first pattern
        answer = validate(make_plan([root / "config/config.yaml", make_config(text, f"{number}.yaml")]))
        assert answer["errors"] == [], text
        if number <= len(added):
            assert not any(claim["never"] for claim in answer["claims"]["widths"].values()), text


def test_the_readme_is_short_and_names_every_paper(root):
    text = (root / "README.md").read_text()
    assert len(text.splitlines()) < 130
    for key in ("gam", "weight_norm", "binary_filter", "dag_momentum"):
        assert f"| `{key}`" in text


def test_the_verdicts_are_those_of_the_kept_report(root):
    reference = latest_reference(root / "reports/reference")
    for page, name, table in (
        ("README.md", "counts", counts_table),
        ("reports/reference/README.md", "verdicts", verdict_tables),
    ):
        text = (root / page).read_text()
        assert text == with_section(text, name, table(reference)), f"{page}: run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(root, page):
    text = (root / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((root / page).parent / target).exists(), target


def edges(diagram):
    """Pairs of rule names that a mermaid flowchart joins."""
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", diagram))
    return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", diagram)}


def test_the_diagram_is_the_rule_graph(root, project):
    drawn = edges((root / "CONTRIBUTING.md").read_text().partition("```mermaid")[2].partition("```")[0])
    assert drawn == edges(project.snakemake("--rulegraph", "mermaid-js"))
    assert ("train_batch", "measure_batch") in drawn


def test_what_a_new_dataset_needs_is_named(root):
    paragraph = (root / "CONTRIBUTING.md").read_text().partition("**A dataset.**")[2].partition("\n\n")[0]
    for text in (paragraph, Dataset.__doc__):
        for name in (arrays.FILE_NAME, arrays.write_arrays.__name__, arrays.read_arrays.__name__):
            assert name in text
    for name in KnowsSizes.__annotations__:
        assert f"`{name}`" in paragraph
    assert Sizes.__name__ in paragraph


@pytest.mark.parametrize("name", ["gam_steps", "curvature", "weight_norm", "jobs", "verification"])
def test_a_benchmark_with_arguments_explains_them(root, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(root / "benchmarks" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert f"usage: {name}" in capsys.readouterr().out


def test_every_training_key_is_explained(root):
    text = (root / "config/README.md").read_text()
    for section in ("training", "block", "study"):
        for key in schema()["$defs"][section]["properties"]:
            assert f"`{key}`" in text or f"{key}:" in text, key
    for key in schema()["properties"]:
        assert f"`{key}`" in text, key
