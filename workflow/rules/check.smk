rule check_study:
    """Check every theorem of one study against its curves, and decide its claims."""
    input:
        curves=study_curves,
        snapshots=study_snapshots,
        provenance=study_provenance,
        measurements=study_measurements,
        measured=study_measured,
    output:
        checks=f"results/{SCALE}/{{study}}/checks.parquet",
        claims=f"results/{SCALE}/{{study}}/claims.parquet",
        figures=f"results/{SCALE}/{{study}}/figures.parquet",
        runs=f"results/{SCALE}/{{study}}/runs.parquet",
        provenance=f"results/{SCALE}/{{study}}/check_provenance.json",
    log:
        f"logs/check/{SCALE}/{{study}}.log",
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
        "exec python -m boundcheck check --spec {params.spec:q} --code {params.code:q} --state {log:q}.json"
        " --results {params.folder:q} > {log:q} 2>&1"


rule check:
    """All checks and claims of the config."""
    input:
        gathered("check", expand(rules.check_study.output.claims, study=PLAN.studies)),
    localrule: True


for key in PLAN.studies:

    rule:
        name:
            key
        input:
            gathered(key, expand(rules.check_study.output.claims, study=key)),
        localrule: True
