# What the rules share: the checked configuration, the plan of runs, and the functions that ask it.
import functools
import glob
import inspect
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

SOURCE = Path(workflow.basedir).parent / "src"
sys.path.insert(0, str(SOURCE))

from data2vec import jobs, machine, papers, planning, settings, targets
from data2vec.errors import UserError
from data2vec.fingerprint import code_fingerprint, config_fingerprint, yaml_content

# A change of this code or of the configuration is seen through the rules' params.
CODE = {
    "prepare": ["data2vec.data.prepare"],
    "import": ["data2vec.interop.importing", "data2vec.interop.huggingface"],
    "pretrain": ["data2vec.training.pretrain", "data2vec.compose"],
    "probe": ["data2vec.downstream.probe", "data2vec.compose"],
    "finetune": ["data2vec.downstream.finetune", "data2vec.compose"],
    "report": ["data2vec.reporting.report"],
    "paper": ["data2vec.reporting.papers"],
    "plan": ["data2vec.plan"],
}
IMPORTED = planning.imported("{checkpoint}")
RUN = "results/{scale}/{modality}/{run}/seed{seed}"
IS_LOCAL = workflow.is_main_process and workflow.resource_settings.nodes is None


class Untracked:
    """Words for a command that Snakemake does not record, so that a change of them reruns nothing."""

    def __init__(self, words):
        self.text = shlex.join(words)

    def __str__(self):
        return self.text


def stop_on_mistake(ask, *arguments):
    """The answer of the plan; a mistake in the configuration ends the workflow with one line and exit code 2."""
    try:
        return ask(*arguments)
    except UserError as mistake:
        sys.stderr.write(f"data2vec: {mistake}\n")
        raise SystemExit(2)


PLAN = planning.Plan(Path("config"))
SETTINGS = stop_on_mistake(settings.check, config, Path(workflow.basedir) / "schemas" / "config.schema.yaml")
TARGETS = stop_on_mistake(targets.all_targets, PLAN, SETTINGS)
RIVALS = stop_on_mistake(targets.rival_targets, PLAN, SETTINGS)
EXPERIMENTS = stop_on_mistake(targets.targets_by_experiment, PLAN, SETTINGS)
PAPERS = stop_on_mistake(papers.read_papers, Path("config/papers.yaml"))
SHARES = {modality: f"timed_{modality}" for modality in targets.PROBE_CONTROLS}
GPUS = len(machine.visible_gpus()) if IS_LOCAL else 0

if workflow.is_main_process:
    for word in sys.argv[1:]:
        stop_on_mistake(targets.check_target, PLAN, word, SETTINGS)
    # A Snakemake that was killed leaves its lock behind; one that lives keeps it.
    ALIVE = stop_on_mistake(machine.clear_stale_lock, Path(".snakemake"))
if IS_LOCAL and "gpu" not in workflow.global_resources.keys():
    # Without a number of cards, Snakemake starts every GPU job at once. A request for more cards than there are is
    # cut down to them (the trainer then accumulates to the same batch); `--resources gpu=N` still overrides.
    workflow.register_resource("gpu", max(1, GPUS))
if IS_LOCAL:
    # Methods whose times are compared do not share cores or a card; on a cluster each has a machine of its own.
    # `--resources timed_vision=4` gives that up for the sake of speed.
    for name in set(SHARES.values()) - set(workflow.global_resources.keys()):
        workflow.register_resource(name, max(1, GPUS))


onstart:
    alone = (
        [SHARES[modality] for modality in targets.chosen_modalities(PLAN, SETTINGS)] if IS_LOCAL else []
    )
    alone = [name for name in alone if workflow.global_resources[name].value == 1]
    if 0 < len(alone) < workflow.cores:
        sys.stderr.write(
            "Main runs of one modality go one after the other, so that their times can be compared; "
            f"--resources {' '.join(f'{name}={workflow.cores}' for name in alone)} gives that up.\n"
        )


# Every command runs through data2vec.job, which writes the log, hands out GPUs and ends with Snakemake.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(SOURCE))}; "
    'job() {{ exec python -m data2vec.job "$@"; }}; '
)


wildcard_constraints:
    scale=r"[^/]+",
    modality=r"[^/]+",
    run=r"[^/]+",
    task=r"[^/]+",
    dataset=r"[^/]+",
    checkpoint=r"[^/]+",
    seed=r"\d+",


def told(ask):
    """A function that carries its signature: Snakemake asks for it several times a job, which takes a sixth of a plan."""
    ask.__signature__ = inspect.signature(ask)
    return ask


def bind(ask, *arguments):
    """`functools.partial`, with its signature (no name of its own: Snakemake would use ours for its)."""
    return told(functools.partial(ask, *arguments))


def answer(ask, *arguments):
    """The answer of the plan about a file that was asked for."""
    try:
        return ask(*arguments)
    except UserError as mistake:
        raise WorkflowError(str(mistake))


def stage_plan(wildcards):
    return answer(PLAN.modality, wildcards.scale, wildcards.modality)


def run_plan(wildcards):
    return named_run(wildcards.scale, wildcards.modality, wildcards.run)


@cache
def named_run(scale, modality, run):
    return answer(PLAN.run, scale, modality, run)


def words(overrides):
    return shlex.join(planning.override_text(key, value) for key, value in overrides.items())


# Inputs
def manifests(datasets):
    return [f"{SETTINGS.data_dir}/{name}/manifest.json" for name in datasets]


@told
def pretrain_data(wildcards):
    return manifests(answer(PLAN.pretrain_data, run_plan(wildcards)))


@told
def trunk_weights(wildcards):
    """Weights of the run whose blocks this one starts from, if it is such an experiment."""
    folder = answer(PLAN.trunk_run, run_plan(wildcards), wildcards.seed)
    return f"{folder}/checkpoint/model.safetensors" if folder else []


@told
def probe_data(wildcards):
    place = wildcards.scale, wildcards.modality, wildcards.run
    return manifests(answer(PLAN.probe_data, *place))


@told
def task_data(wildcards):
    place = wildcards.scale, wildcards.modality, wildcards.run
    return manifests(answer(PLAN.task_data, *place, wildcards.task))


def checkpoint_file(wildcards):
    return answer(PLAN.checkpoint_file, wildcards.checkpoint, SETTINGS)


def start(stage, wildcards):
    """Folder of the run that a stage starts from, and which control it is, if any."""
    place = wildcards.scale, wildcards.modality
    weights, run, control = named_start(stage, *place, wildcards.run)
    return (planning.imported(weights) if weights else planning.folder(*place, run, wildcards.seed)), control


@cache
def named_start(stage, scale, modality, run):
    """(weights of others, run, control) that a stage of a run starts from, whatever the seed."""
    weights = answer(PLAN.checkpoint, scale, modality, run)
    return (weights, "", "") if weights else ("", *answer(PLAN.start, stage, scale, modality, run))


def start_config(stage, wildcards):
    return f"{start(stage, wildcards)[0]}/config.yaml"


def start_weights(stage, wildcards):
    """Trained weights; a control has none."""
    folder, control = start(stage, wildcards)
    return [] if control else f"{folder}/checkpoint/model.safetensors"


def shown_settings():
    """What Snakemake's report says beside every file."""
    return {"scale": SETTINGS.scale, "seeds": str(SETTINGS.seeds)}


def published_numbers(wildcards):
    return sorted(glob.glob("config/published/*.csv"))


# Params: words of the commands
def data_location(wildcards):
    """Where a licensed or own data set lies: a change of it is another data set."""
    path = SETTINGS.data_paths.get(wildcards.dataset)
    return words({"data.path": path}) if path else ""


def data_source(wildcards):
    """Where to look before any download. What is prepared already stays when this changes."""
    mirror = [f"data_mirror={SETTINGS.data_mirror}"] if SETTINGS.data_mirror else []
    return Untracked(mirror + (["offline=true"] if SETTINGS.offline else []))


def checkpoint_licence(wildcards):
    return words({"licence": PLAN.checkpoints[wildcards.checkpoint].licence})


def start_words(wildcards):
    """What an imported run's configuration lacks."""
    place = wildcards.scale, wildcards.modality, wildcards.run
    return answer(PLAN.start_words, *place, SETTINGS)


@told
def pretrain_words(wildcards):
    run = run_plan(wildcards)
    return shlex.join(PLAN.pretrain_words(run, wildcards.seed, SETTINGS))


@told
def probe_words(wildcards):
    features = {"probe.features": start("probe", wildcards)[1] or "encoder"}
    chosen = words(features | stage_plan(wildcards).probe)
    return f"{shlex.join(start_words(wildcards))} {chosen}"


@told
def finetune_words(wildcards):
    init = start("finetune", wildcards)[1] or "pretrained"
    chosen = answer(PLAN.finetune_words, wildcards.scale, wildcards.modality, wildcards.task)
    return shlex.join([f"init={init}", *start_words(wildcards), *chosen])


def plan_words(wildcards):
    """What decides which jobs there are."""
    keys = "scale", "modalities", "experiments", "seeds", "budget", "checkpoints"
    return words({key: getattr(SETTINGS, key) for key in keys})


@told
def training_state(wildcards, output):
    """Resumable state. It is no declared output: Snakemake deletes those of a failed job."""
    return str(Path(output.weights).with_name("state.pt"))


# Params: what the result depends on besides the inputs
@cache
def code_of(stage):
    """Fingerprint of the modules behind a command and of all of ours that they import."""
    memory = Path(".snakemake/fingerprints.json")
    return "-".join(answer(code_fingerprint, module, SOURCE, memory) for module in CODE[stage])


@cache
def composed(*choices):
    return config_fingerprint(Path("config/run"), dict(choices))


@told
def task_files(wildcards):
    """Content of the files in config/run/task that a fine-tuning composes."""
    return task_content(wildcards.scale, wildcards.modality, wildcards.task)


@cache
def task_content(scale, modality, task):
    return [yaml_content(file) for file in answer(PLAN.task_files, scale, modality, task)]


@told
def composed_files(wildcards):
    """Fingerprint of the files in config/run that a run composes."""
    run, plan = run_plan(wildcards), stage_plan(wildcards)
    choices = {
        "modality": run.modality,
        "method": run.method,
        "model": plan.model,
        "data": plan.data,
    }
    groups = [*choices, "recipe"]
    choices |= {key: str(run.overrides[key]) for key in groups if key in run.overrides}
    return composed(*choices.items())


def experiment_files(wildcards):
    """Descriptions of the experiments, which the report shows."""
    return [yaml_content(file) for file in sorted(Path("config/experiments").glob("*.yaml"))]


@cache
def recipe_files(wildcards):
    """Content of the recipes, which the papers' tables of settings stand beside."""
    files = sorted(
        [*Path("config/run/recipe").glob("data2vec2_*"), *Path("config/run/size").glob("data2vec2_*")]
    )
    return [yaml_content(file) for file in files]


def plan_files(wildcards):
    """Content of the files that an estimate depends on."""
    files = sorted([*Path("config/run").rglob("*.yaml"), *Path("config/experiments").glob("*.yaml")])
    return [yaml_content(file) for file in [*files, Path(f"config/scale/{SETTINGS.scale}.yaml")]]


# Threads and resources
def asked(stage, wildcards):
    scale = getattr(wildcards, "scale", SETTINGS.scale)
    return answer(PLAN.scale, scale).resources[stage]


def job_threads(stage, wildcards):
    cores = workflow.resource_settings.cores if IS_LOCAL else None
    need = asked(stage, wildcards)
    return machine.job_threads(need.threads, need.gpus, GPUS, cores)


def job_gpus(stage, wildcards):
    return asked(stage, wildcards).gpus


def job_nodes(stage, wildcards):
    return asked(stage, wildcards).nodes


def job_share(modality, wildcards):
    """1 for a run whose time is compared with that of other methods of a modality."""
    return int(modality == wildcards.modality and run_plan(wildcards).is_compared)


def job_memory(stage, wildcards, attempt):
    """More memory with every retry."""
    need = asked(stage, wildcards).mem_mb
    return (estimated(stage, wildcards)[0] if need == "auto" else need) * attempt


def job_runtime(stage, wildcards, attempt):
    need = asked(stage, wildcards).runtime
    return (estimated(stage, wildcards)[1] if need == "auto" else need) * attempt


def estimated(stage, wildcards):
    """Memory (MB) and time (minutes) of a job for which the scale says `auto`."""
    return estimate(stage, wildcards.scale, wildcards.modality, wildcards.run, getattr(wildcards, "task", ""))


@cache
def estimate(stage, scale, modality, run, task):
    return answer(jobs.requested, PLAN, scale, SETTINGS.budget, jobs.Job(stage, modality, run, task))
