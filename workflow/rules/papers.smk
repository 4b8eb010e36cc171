# The tables and figures of the papers, one target each: config/papers.yaml says which runs each needs.
SHOWN = (".html", ".svg")  # of each table and figure, in Snakemake's report

for name, paper in PAPERS.items():

    rule:
        name:
            f"paper_{name}"
        input:
            metrics=stop_on_mistake(papers.paper_targets, PLAN, paper, SETTINGS),
            published=published_numbers,
        output:
            expand("reports/papers/{file}", file=[f for f in paper.files if not f.endswith(SHOWN)]),
            report(
                expand("reports/papers/{file}", file=[f for f in paper.files if f.endswith(SHOWN)]),
                caption="../report/papers.rst",
                category="Papers",
                subcategory=paper.item,
                labels={"what": paper.title, **shown_settings()},
            ),
        params:
            paper=name,
            scale=SETTINGS.scale,
            code=code_of("paper"),
            entry=repr(paper),
            experiments=experiment_files,
            recipes=recipe_files,
        log:
            f"results/logs/paper-{name}.log",
        benchmark:
            f"results/logs/paper-{name}.benchmark.tsv"
        conda:
            "../../environment.yml"
        threads: bind(job_threads, "report")
        resources:
            gpu=0,
            mem_mb=bind(job_memory, "report"),
            runtime=bind(job_runtime, "report"),
        message:
            "Writing {output[0]} (log: {log})"
        shell:
            "job --log {log} -- python -m data2vec report paper={params.paper} results=results reports=reports "
            "published=config/published experiments=config/experiments scale={params.scale}"
