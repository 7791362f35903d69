# One job and one process train a run and evaluate it: importing torch takes as long as training a tiny network. A
# corrected metric changes only eval_key, and a run that is trained is then only evaluated.
# Only the file that is written last is declared as output: Snakemake deletes a failed job's declared outputs before a
# retry, and the resumable state must survive that.
METRICS_OF_RUN = f"{RUNS}/{{benchmark}}/{{method}}/seed{{seed}}-{{train_key}}/{metrics_file('{eval_key}')}"


rule train_and_evaluate:
    input:
        run_inputs(METRICS_OF_RUN),
    output:
        METRICS_OF_RUN,
    log:
        "logs/runs/{benchmark}/{method}/seed{seed}-{train_key}-{eval_key}.log",
    benchmark:
        "logs/benchmarks/runs/{benchmark}/{method}/seed{seed}-{train_key}-{eval_key}.tsv"
    priority: by_seed
    retries: 1
    threads: lambda wildcards: needs(wildcards).cores
    resources:
        gpu=lambda wildcards: needs(wildcards).gpu,
        mem_mb=lambda wildcards: needs(wildcards).mem_mb,
        runtime=lambda wildcards: needs(wildcards).runtime,
    params:
        command="evaluate --train",
        key=lambda wildcards: wildcards.eval_key,
    shell:
        MTCP + " {params.command} {wildcards.benchmark} {wildcards.method} --seed {wildcards.seed} "
        "--key {params.key} --threads {threads} >> {log} 2>&1"


# A trial of a method under a budget; only the chosen one is evaluated.
use rule train_and_evaluate as train_trial with:
    input:
        run_inputs(RUN),
    output:
        RUN,
    log:
        "logs/trials/{benchmark}/{method}/seed{seed}-{train_key}.log",
    benchmark:
        "logs/benchmarks/trials/{benchmark}/{method}/seed{seed}-{train_key}.tsv"
    params:
        command="train",
        key=lambda wildcards: wildcards.train_key,
