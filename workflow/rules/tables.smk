# Tables keep stable names; the stamp says from which runs and code they were made. Older stamps go first: with two
# of them lying there, changing a value and changing it back would leave a stale table.
for BENCHMARK, BENCHMARK_STAMPS in STAMPS.items():

    rule:
        name:
            f"tables_{BENCHMARK}"
        input:
            ancient([relative(run.metrics_path) for run in PLAN.of(BENCHMARK)]),
        output:
            expand("results/tables/{name}/{table}.csv", name=BENCHMARK, table=TABLES),
            stamp=touch(relative(BENCHMARK_STAMPS.tables)),
        params:
            benchmark=BENCHMARK,
        log:
            f"logs/tables/{BENCHMARK}.log",
        benchmark:
            f"logs/benchmarks/tables/{BENCHMARK}.tsv"
        resources:
            mem_mb=2000,
            runtime=30,
        shell:
            "rm -f results/tables/{params.benchmark}/grid-*.stamp && "
            "{MTCP} tables {params.benchmark} > {log} 2>&1"


# One file over all benchmarks, for `dvc metrics`.
rule metrics:
    input:
        ancient([relative(stamps.tables) for stamps in STAMPS.values()]),
    output:
        "results/tables/metrics.json",
        "results/tables/delta_m.csv",
        touch(relative(PLAN.metrics_stamp())),
    log:
        "logs/tables/metrics.log",
    benchmark:
        "logs/benchmarks/tables/metrics.tsv"
    shell:
        "rm -f results/tables/metrics-*.stamp && {MTCP} metrics > {log} 2>&1"
