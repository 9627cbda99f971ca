rule train_batch:
    """Train one batch: one method on one model and dataset, several seeds."""
    input:
        arrays=arrays,
        teacher=teacher_arrays,
        provenance=data_provenance,
    output:
        curves=f"results/{BATCH}/curves.parquet",
        snapshots=directory(f"results/{BATCH}/snapshots"),
        provenance=f"results/{BATCH}/provenance.json",
    log:
        f"logs/train/{BATCH}.log",
    conda:
        "../../envs/boundcheck.yaml"
    threads: 1
    resources:
        gpu=min(NUM_GPUS, 1),
        mem_mb=per_attempt(4000),
        runtime=per_attempt(240),
    params:
        spec=train_spec,
        code=train_code,
        folder=subpath(output.curves, parent=True),
    # exec: a signal to the job reaches the training, not a shell around it
    shell:
        "exec python -m boundcheck train --spec {params.spec:q} --state {log:q}.json --code {params.code:q}"
        " --threads {threads} --data {input.arrays:q} --output {params.folder:q} > {log:q} 2>&1"


rule train:
    """All trainings of the config."""
    input:
        gathered("train", batch_files("curves.parquet")),
    localrule: True
