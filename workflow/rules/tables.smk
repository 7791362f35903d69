# Tables have stable names; the stamp identifies the runs and the code that they were made from. `mtcp tables` writes it
# and removes older ones first.
for BENCHMARK, BENCHMARK_STAMPS in STAMPS.items():

    rule:
        name:
            f"tables_{BENCHMARK}"
        input:
            *[metrics_of(BENCHMARK, method) for method in PLAN.project.params.methods],
        output:
            [in_report(f"{TABLES}/{BENCHMARK}/{table}.csv", table, BENCHMARK) for table in TABLE_NAMES],
            [f"{TABLES}/{BENCHMARK}/{LITERATURE}.csv"] if PLAN.project.data_name(BENCHMARK) in PUBLISHED_FOR else [],
            stamp=relative(BENCHMARK_STAMPS.tables),
        log:
            f"logs/tables/{BENCHMARK}.log",
        benchmark:
            f"logs/benchmarks/tables/{BENCHMARK}.tsv"
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            benchmark=BENCHMARK,
            key=key_of(BENCHMARK_STAMPS.tables),
        shell:
            MTCP + " tables {params.benchmark} --key {params.key} > {log} 2>&1"


# One file per benchmark and method, for `dvc metrics`.
rule metrics:
    input:
        unless_done(PLAN.metrics_stamp(), *(relative(stamps.tables) for stamps in STAMPS.values())),
    output:
        MEANS,
        relative(PLAN.metrics_stamp()),
    log:
        "logs/tables/metrics.log",
    benchmark:
        "logs/benchmarks/tables/metrics.tsv"
    params:
        key=key_of(PLAN.metrics_stamp()),
    shell:
        MTCP + " metrics --key {params.key} > {log} 2>&1"
