# What everything will cost, told before it is started: `snakemake --cores 1 plan`. Nothing waits for it.
rule plan:
    output:
        table="reports/plan.csv",
        page="reports/plan.md",
    params:
        words=plan_words,
        code=code_of("plan"),
        settings=plan_files,
    log:
        "results/logs/plan.log",
    benchmark:
        "results/logs/plan.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=bind(job_memory, "report"),
        runtime=bind(job_runtime, "report"),
    message:
        "Estimating what every job costs: {output}"
    shell:
        "job --log {log} -- python -m data2vec plan {params.words} out={output.table}"
