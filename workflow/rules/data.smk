rule prepare:
    output:
        f"{SETTINGS.data_dir}/{{dataset}}/manifest.json",
    params:
        location=data_location,
        source=data_source,
        data_dir=subpath(output[0], ancestor=2),
        code=code_of("prepare"),
    log:
        "results/logs/prepare-{dataset}.log",
    benchmark:
        "results/logs/prepare-{dataset}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "prepare")
    resources:
        gpu=0,
        mem_mb=bind(job_memory, "prepare"),
        runtime=bind(job_runtime, "prepare"),
    message:
        "Preparing the data set {wildcards.dataset} (log: {log})"
    shell:
        "job --log {log} -- python -m data2vec prepare data={wildcards.dataset} data_dir={params.data_dir} "
        "{params.location} {params.source}"
