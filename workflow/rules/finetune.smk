# Fine-tuning of a run on a task or, as the control `scratch`, of the same network from random weights.
rule finetune:
    input:
        data=task_data,
        config=bind(start_config, "finetune"),
        weights=bind(start_weights, "finetune"),
    output:
        config=f"{RUN}/finetune/{{task}}/config.yaml",
        provenance=f"{RUN}/finetune/{{task}}/provenance.json",
        metrics=f"{RUN}/finetune/{{task}}/metrics.json",
        weights=f"{RUN}/finetune/{{task}}/checkpoint/model.safetensors",
    params:
        start=subpath(input.config, parent=True),
        folder=subpath(output.config, parent=True),
        state=training_state,
        overrides=finetune_words,
        data_dir=SETTINGS.data_dir,
        code=code_of("finetune"),
        settings=task_files,
    log:
        f"{RUN}/finetune-{{task}}.log",
    benchmark:
        f"{RUN}/finetune-{{task}}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "finetune")
    resources:
        gpu=bind(job_gpus, "finetune"),
        nodes=bind(job_nodes, "finetune"),
        mem_mb=bind(job_memory, "finetune"),
        runtime=bind(job_runtime, "finetune"),
    message:
        "Fine-tuning {wildcards.run} on {wildcards.task} ({wildcards.scale}, seed {wildcards.seed}; log: {log})"
    shell:
        "job --log {log} --gpus {resources.gpu} --state {params.state} --code {params.code} --inputs {input} -- "
        "python -m data2vec finetune init_run={params.start} run_dir={params.folder} "
        "data_dir={params.data_dir} seed={wildcards.seed} {params.overrides}"
