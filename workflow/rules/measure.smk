rule measure_batch:
    """Measure every snapshot of one batch."""
    input:
        arrays=arrays,
        teacher=teacher_arrays,
        data=data_provenance,
        snapshots=rules.train_batch.output.snapshots,
        provenance=rules.train_batch.output.provenance,
    output:
        measurements=f"results/{BATCH}/measurements.parquet",
        provenance=f"results/{BATCH}/measure_provenance.json",
    log:
        f"logs/measure/{BATCH}.log",
    conda:
        "../../envs/boundcheck.yaml"
    threads: 1
    resources:
        gpu=min(NUM_GPUS, 1),
        mem_mb=per_attempt(4000),
        runtime=per_attempt(240),
    params:
        spec=measure_spec,
        code=measure_code,
    shell:
        "exec python -m boundcheck measure --spec {params.spec:q} --code {params.code:q} --state {log:q}.json"
        " --threads {threads} --data {input.arrays:q} --snapshots {input.snapshots:q}"
        " --output {output.measurements:q} > {log:q} 2>&1"


rule measure:
    """All measurements of the config."""
    input:
        gathered("measure", batch_files("measurements.parquet")),
    localrule: True
