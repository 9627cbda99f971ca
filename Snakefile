from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/start_and_end.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/report.smk"


# The report of this scale and all its results, so that a deleted result is made again.
rule all:
    default_target: True
    input:
        rules.report.output,
        expand(rules.check_study.output, study=PLAN.studies),
        result_files(),


onstart:
    refuse_second_snakemake()
    refuse_missing_sources(workflow.dag.needrun_jobs())
    write_specs(workflow.dag.needrun_jobs())
    fork_jobs(workflow.dag.needrun_jobs())


onsuccess:
    print(REPORT_MESSAGE if Path(f"reports/{SCALE}/index.html").exists() else "")


onerror:
    tell_failures(workflow.scheduler.failed)
    print(ERROR_MESSAGE)
