# Renders the tables as HTML and LaTeX.
for BENCHMARK, BENCHMARK_STAMPS in STAMPS.items():

    rule:
        name:
            f"report_{BENCHMARK}"
        input:
            unless_done(BENCHMARK_STAMPS.report, relative(BENCHMARK_STAMPS.tables)),
        output:
            in_report(f"reports/{BENCHMARK}.html", "page", BENCHMARK),
            f"reports/{BENCHMARK}.tex",
            f"reports/{BENCHMARK}-tables.tex",
            stamp=relative(BENCHMARK_STAMPS.report),
        log:
            f"logs/report/{BENCHMARK}.log",
        benchmark:
            f"logs/benchmarks/report/{BENCHMARK}.tsv"
        resources:
            mem_mb=max(2000, RESOURCES[BENCHMARK].mem_mb),  # the report predicts on three images
            runtime=30,
        params:
            benchmark=BENCHMARK,
            key=key_of(BENCHMARK_STAMPS.report),
        shell:
            MTCP + " report {params.benchmark} --key {params.key} > {log} 2>&1"
