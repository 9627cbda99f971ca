rule fetch:
    """Get one dataset, check it, and write it as one array file."""
    output:
        arrays="data/{data}/arrays.safetensors",
        provenance="data/{data}/provenance.json",
    log:
        "logs/fetch/{data}.log",
    retries: 2
    localrule: True
    conda:
        "../../envs/boundcheck.yaml"
    params:
        spec=fetch_spec,
        code=fetch_code,
        source=source_state,
    shell:
        "exec python -m boundcheck fetch --spec {params.spec:q} --state {log:q}.json --source {params.source:q}"
        " --output {output.arrays:q} > {log:q} 2>&1"


rule data:
    """All datasets of the config, so that compute nodes need no network."""
    input:
        gathered("data", expand(rules.fetch.output, data=PLAN.fetches)),
    localrule: True
