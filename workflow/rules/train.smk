# Trains one run. Only run.json, which is written last, is declared as output: Snakemake deletes a failed job's declared
# outputs before a retry, and the resumable state must survive that.
RUN = f"{RUNS}/{{benchmark}}/{{method}}/seed{{seed}}-{{train_key}}/{RECORD}"


rule train:
    input:
        run_inputs(RUN),
    output:
        RUN,
    log:
        "logs/train/{benchmark}/{method}/seed{seed}-{train_key}.log",
    benchmark:
        "logs/benchmarks/train/{benchmark}/{method}/seed{seed}-{train_key}.tsv"
    priority: by_seed
    retries: 1
    threads: lambda wildcards: RESOURCES[wildcards.benchmark].cores
    resources:
        gpu=lambda wildcards: RESOURCES[wildcards.benchmark].gpu,
        mem_mb=lambda wildcards: RESOURCES[wildcards.benchmark].mem_mb,
        runtime=lambda wildcards: RESOURCES[wildcards.benchmark].runtime,
    shell:
        MTCP + " train {wildcards.benchmark} {wildcards.method} --seed {wildcards.seed} "
        "--key {wildcards.train_key} --threads {threads} >> {log} 2>&1"
