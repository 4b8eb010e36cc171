# One rule for main runs and for every point of every experiment: config/experiments/ says which there are.
rule pretrain:
    input:
        data=pretrain_data,
        trunk=trunk_weights,
    output:
        config=f"{RUN}/config.yaml",
        provenance=f"{RUN}/provenance.json",
        metrics=f"{RUN}/metrics.json",
        weights=f"{RUN}/checkpoint/model.safetensors",
        masked=f"{RUN}/masked.npz",
    params:
        folder=subpath(output.config, parent=True),
        state=training_state,
        overrides=pretrain_words,
        code=code_of("pretrain"),
        settings=composed_files,
    log:
        f"{RUN}/pretrain.log",
    benchmark:
        f"{RUN}/pretrain.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "pretrain")
    resources:
        **{name: bind(job_share, modality) for modality, name in SHARES.items()},
        gpu=bind(job_gpus, "pretrain"),
        nodes=bind(job_nodes, "pretrain"),
        mem_mb=bind(job_memory, "pretrain"),
        runtime=bind(job_runtime, "pretrain"),
    message:
        "Pre-training {wildcards.run} ({wildcards.modality}, {wildcards.scale}, seed {wildcards.seed}; log: {log})"
    shell:
        "job --log {log} --gpus {resources.gpu} --state {params.state} --code {params.code} --inputs {input} -- "
        "python -m data2vec pretrain {params.overrides} run_dir={params.folder}"
