rule report:
    """One page in which every claim has a verdict with its evidence."""
    input:
        claims=expand(rules.check_study.output.claims, study=PLAN.studies),
        checks=expand(rules.check_study.output.checks, study=PLAN.studies),
        figures=expand(rules.check_study.output.figures, study=PLAN.studies),
        runs=expand(rules.check_study.output.runs, study=PLAN.studies),
        provenance=expand(rules.check_study.output.provenance, study=PLAN.studies),
    output:
        page=report(
            f"reports/{SCALE}/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"scale": SCALE},
        ),
        figures=report(
            directory(f"reports/{SCALE}/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
        tables=report(
            directory(f"reports/{SCALE}/tables"),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
        provenance=f"reports/{SCALE}/provenance.json",
    log:
        f"logs/report/{SCALE}.log",
    conda:
        "../../envs/boundcheck.yaml"
    threads: 4
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
    params:
        spec=report_spec,
        code=PLAN.report_code(),
        results=subpath(input[0], ancestor=2),
        folder=subpath(output.page, parent=True),
    shell:
        "exec python -m boundcheck report --spec {params.spec:q} --code {params.code:q} --state {log:q}.json"
        " --results {params.results:q} --threads {threads} --output {params.folder:q} > {log:q} 2>&1"
