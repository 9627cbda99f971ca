from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/report.smk"


# Everything: the report of this scale.
rule all:
    default_target: True
    input:
        rules.report.output.page,


onsuccess:
    print(REPORT_MESSAGE)
