# Under a budget, a method's configuration is chosen among its trials, which are ordinary runs at the first seed. Only
# then are the keys of its other runs known, so Snakemake plans them afterwards. Without a budget there is no choice.
CHOICE = f"{RUNS}/{{benchmark}}/{{method}}/choice-{{key}}.json"


def trials(wildcards):
    tried = CHOICES[wildcards.benchmark, wildcards.method].trials
    return needed_by(CHOICE.format(**wildcards), *(relative(trial.run_path) for trial in tried))


checkpoint choose:
    input:
        trials,
    output:
        CHOICE,
    log:
        "logs/choose/{benchmark}/{method}-{key}.log",
    benchmark:
        "logs/benchmarks/choose/{benchmark}/{method}-{key}.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        MTCP + " choose {wildcards.benchmark} {wildcards.method} --key {wildcards.key} > {log} 2>&1"
