# Linear probe and nearest neighbours on frozen features: of a run or, as the controls `random` and `pixels`, of the
# same network with random weights and of the pixels themselves. On a cluster, probes of scales whose probes need no GPU
# take seconds: they run beside Snakemake instead of waiting in a queue.
rule probe:
    input:
        data=probe_data,
        config=bind(start_config, "probe"),
        weights=bind(start_weights, "probe"),
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
    localrule: answer(PLAN.scale, SETTINGS.scale).resources["probe"].gpus == 0
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "probe")
    resources:
        gpu=bind(job_gpus, "probe"),
        mem_mb=bind(job_memory, "probe"),
        runtime=bind(job_runtime, "probe"),
    message:
        "Probing {wildcards.run} ({wildcards.modality}, {wildcards.scale}, seed {wildcards.seed}; log: {log})"
    shell:
        "job --log {log} --gpus {resources.gpu} -- "
        "python -m data2vec evaluate run_dir={params.start} data_dir={params.data_dir} out={output} {params.overrides}"
