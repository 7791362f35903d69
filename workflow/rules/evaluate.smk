# Evaluates one trained run. A corrected metric changes only eval_key, so only this rule and those after it run again.
METRICS_OF_RUN = f"{RUNS}/{{benchmark}}/{{method}}/seed{{seed}}-{{train_key}}/{metrics_file('{eval_key}')}"


rule evaluate:
    input:
        run_inputs(METRICS_OF_RUN),
        run=lambda wildcards: unless_done(METRICS_OF_RUN.format(**wildcards), RUN.format(**wildcards)),
    output:
        METRICS_OF_RUN,
    log:
        "logs/evaluate/{benchmark}/{method}/seed{seed}-{train_key}-{eval_key}.log",
    benchmark:
        "logs/benchmarks/evaluate/{benchmark}/{method}/seed{seed}-{train_key}-{eval_key}.tsv"
    priority: by_seed
    threads: lambda wildcards: RESOURCES[wildcards.benchmark].threads
    resources:
        gpu=lambda wildcards: min(RESOURCES[wildcards.benchmark].gpu, 1),
        mem_mb=lambda wildcards: RESOURCES[wildcards.benchmark].mem_mb,
        runtime=lambda wildcards: RESOURCES[wildcards.benchmark].runtime,
    shell:
        MTCP + " evaluate {wildcards.benchmark} {wildcards.method} --seed {wildcards.seed} "
        "--key {wildcards.eval_key} --threads {threads} > {log} 2>&1"
