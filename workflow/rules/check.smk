rule check_paper:
    """Check every theorem of one paper against its curves, and decide its claims."""
    input:
        curves=paper_curves,
        snapshots=paper_snapshots,
        provenance=paper_provenance,
        measurements=paper_measurements,
    output:
        checks=f"results/{SCALE}/{{paper}}/checks.parquet",
        claims=f"results/{SCALE}/{{paper}}/claims.parquet",
        figures=f"results/{SCALE}/{{paper}}/figures.parquet",
        runs=f"results/{SCALE}/{{paper}}/runs.parquet",
    log:
        f"logs/check/{SCALE}/{{paper}}.log",
    conda:
        "../../envs/boundcheck.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
    params:
        spec=check_spec,
        code=check_code,
        folder=subpath(output.claims, parent=True),
    shell:
        "python -m boundcheck check --spec {params.spec:q} --results {params.folder:q} > {log:q} 2>&1"


rule check:
    """All checks and claims of the config."""
    input:
        gathered("check", expand(rules.check_paper.output.claims, paper=PLAN.papers)),
    localrule: True


for key in PLAN.papers:

    rule:
        name:
            key
        input:
            gathered(key, expand(rules.check_paper.output.claims, paper=key)),
        localrule: True
