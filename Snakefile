# The workflow is workflow/Snakefile; this one lets `snakemake` find it, and profiles/default beside it.
include: "workflow/Snakefile"


# An included rule is never the default one.
rule reproduce:
    default_target: True
    input:
        rules.all.input,
