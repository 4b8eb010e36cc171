# Weights that others trained, given by path, become a run folder that probes and fine-tunings start from.
# An import refuses a folder that holds anything, and Snakemake makes part of it beforehand.
rule import_checkpoint:
    input:
        file=checkpoint_file,
    output:
        config=f"{IMPORTED}/config.yaml",
        provenance=f"{IMPORTED}/provenance.json",
        weights=f"{IMPORTED}/checkpoint/model.safetensors",
    params:
        folder=subpath(output.config, parent=True),
        licence=checkpoint_licence,
        code=code_of("import"),
    log:
        "results/logs/import-{checkpoint}.log",
    benchmark:
        "results/logs/import-{checkpoint}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: bind(job_threads, "prepare")
    resources:
        gpu=0,
        mem_mb=bind(job_memory, "prepare"),
        runtime=bind(job_runtime, "prepare"),
    message:
        "Importing {wildcards.checkpoint} from {input.file} (log: {log})"
    shell:
        "rm -rf {params.folder} && "
        "job --log {log} -- python -m data2vec import file={input.file:q} run_dir={params.folder} {params.licence}"
