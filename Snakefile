# The whole reproduction, as a table of contents. `snakemake --cores all` runs it, `snakemake -n` shows it.
# Content decides what is done: keys name every target (docs/orchestration.md), so an edge to what is done is ancient().
from snakemake.utils import min_version

min_version("9.10")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/choose.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        targets(),
