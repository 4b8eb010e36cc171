rule report:
    input:
        metrics=TARGETS,
        published=published_numbers,
        claims="config/claims.yaml",
    output:
        page=report(
            "reports/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"what": "our numbers beside the published ones", **shown_settings()},
        ),
        table=report(
            "reports/results.csv",
            caption="../report/results.rst",
            category="Report",
            labels={"what": "every measurement, one a row", **shown_settings()},
        ),
        claims=report(
            "reports/claims.md",
            caption="../report/claims.rst",
            category="Report",
            labels={"what": "every claim with its verdict", **shown_settings()},
        ),
        tables=report(
            directory("reports/tables"),
            patterns=["{table}.html"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}", **shown_settings()},
        ),
        figures=report(
            directory("reports/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}", **shown_settings()},
        ),
    params:
        scale=SETTINGS.scale,
        folder=subpath(output.page, parent=True),
        code=code_of("report"),
        experiments=experiment_files,
    log:
        "results/logs/report.log",
    benchmark:
        "results/logs/report.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "report")
    resources:
        gpu=0,
        mem_mb=bind(job_memory, "report"),
        runtime=bind(job_runtime, "report"),
    message:
        "Writing tables, figures and {output.page} (log: {log})"
    shell:
        "job --log {log} -- python -m data2vec report results=results reports={params.folder} "
        "published=config/published experiments=config/experiments claims={input.claims} scale={params.scale}"
