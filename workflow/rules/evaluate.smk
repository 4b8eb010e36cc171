# Linear probe and nearest neighbours on frozen features: of a run or, as the controls `random` and `pixels`, of the
# same network with random weights and of the pixels themselves.
rule probe:
    input:
        data=probe_data,
        config=partial(start_config, "probe"),
        weights=partial(start_weights, "probe"),
    output:
        f"{RUN}/probe/metrics.json",
    params:
        start=subpath(input.config, parent=True),
        overrides=probe_words,
        data_dir=SETTINGS.data_dir,
        code=code_of("probe"),
    log:
        f"{RUN}/probe.log",
    benchmark:
        f"{RUN}/probe.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: partial(job_threads, "probe")
    resources:
        gpu=partial(job_gpus, "probe"),
        mem_mb=partial(job_memory, "probe"),
        runtime=partial(job_runtime, "probe"),
    message:
        "Probing {wildcards.run} ({wildcards.modality}, {wildcards.scale}, seed {wildcards.seed}; log: {log})"
    shell:
        "job --log {log} --gpus {resources.gpu} -- "
        "python -m data2vec evaluate run_dir={params.start} data_dir={params.data_dir} out={output} {params.overrides}"
