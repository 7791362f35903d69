# Pulls a DVC-tracked data set or renders it, and compares it with data/<name>.lock.json. This small manifest represents
# the data in the workflow: a folder with thousands of files would slow down every parse.
rule fetch:
    output:
        "data/.ready/{data}-{key}.json",
    log:
        "logs/fetch/{data}-{key}.log",
    benchmark:
        "logs/benchmarks/fetch/{data}-{key}.tsv"
    resources:
        mem_mb=2000,
        runtime=120,
    shell:
        MTCP + " data prepare {wildcards.data} > {log} 2>&1"


# Checks that the data have every task, and trains and evaluates every method for one step on synthetic images: a wrong
# parameter fails here and not after an hour of training.
rule check:
    input:
        lambda wildcards: needed_by(
            f"results/checks/{wildcards.benchmark}-{wildcards.key}.ok", relative(MANIFESTS[wildcards.benchmark])
        ),
    output:
        touch("results/checks/{benchmark}-{key}.ok"),
    log:
        "logs/check/{benchmark}-{key}.log",
    benchmark:
        "logs/benchmarks/check/{benchmark}-{key}.tsv"
    resources:
        mem_mb=4000,
        runtime=20,
    shell:
        MTCP + " check {wildcards.benchmark} --key {wildcards.key} > {log} 2>&1"
