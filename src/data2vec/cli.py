"""The command line: one command, then `key=value` words.

A mistake by the user ends in one line and exit code 2; heavy imports wait until a command needs them.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from data2vec.compose import GROUPS, amend, compose, data_choice, split_overrides
from data2vec.errors import UserError

log = logging.getLogger(__name__)
Words = dict[str, str]

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# What torch and safetensors say of a full disk, in errors that are no OSError.
DISK_IS_FULL = ("No space left on device", "PytorchStreamWriter failed writing")


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code: 0, 2 for a mistake, 143 when asked to stop."""
    rank = os.environ.get("RANK", "0")  # of several processes that torchrun started, the first one talks
    level = logging.INFO if rank == "0" else logging.WARNING
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=level)
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0 if argv else 2
    name, *words = argv
    try:
        if name not in COMMANDS:
            from data2vec.config import nearest

            known = ", ".join(COMMANDS)
            raise UserError(f"unknown command '{name}'{nearest(name, list(COMMANDS))} Allowed: {known}")
        command = COMMANDS[name]
        if "-h" in words or "--help" in words:
            sys.stdout.write((command.__doc__ or "").rstrip() + _help_on_keys(name))
            return 0
        command(split_overrides(words))
    except UserError as error:
        return _mistake(str(error))
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _mistake(f"{where}{error.strerror}; what was complete is kept, the same command continues")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if str(error).startswith("DataLoader worker"):  # torch's words; the signal may arrive anywhere in the loop
            return _mistake(
                f"{str(error).splitlines()[0]} A process that loads batches was killed, often because memory "
                "ran out; the same command continues from the last saved state (fewer: train.workers)"
            )
        if any(words in str(error) for words in DISK_IS_FULL):
            return _mistake("No space left on device; what was complete is kept, the same command continues")
        if type(error).__name__ != "Interrupted":  # the loop's answer to SIGTERM: state saved, leave quietly
            raise
        log.info("%s", error)
        return 143
    return 0


def _mistake(message: str) -> int:
    """Say what was wrong in one line, if the log can take it (its disk may be full), and return the exit code."""
    rank = os.environ.get("RANK", "0")
    with contextlib.suppress(OSError):
        sys.stderr.write(f"error: {message}\n" if rank == "0" else f"error in process {rank}: {message}\n")
    return 2


def prepare(words: Words) -> None:
    """Prepare a data set: check, unpack, convert. Does nothing if it is complete.

    python -m data2vec prepare data=cifar10 data_dir=results/data data_mirror=MIRROR
    python -m data2vec prepare data=imagefolder data.path=MY/IMAGES data_dir=results/data

    data          which data set
    data.path     folder with your own or licensed data
    data.vocab_size, data.tokenizer, data.bpe_dir   text: tokens of the vocabulary, its kind, files of a released one
    data_dir      where prepared data goes
    data_mirror   folder that is looked in before any download; only read
    offline       true: download nothing, say what is missing
    """
    from data2vec.config import known_keys, nearest
    from data2vec.data.prepare import prepare as run

    allowed = ["data", "data.path", "data_dir", "data_mirror", "offline"]
    for key in words:
        if key not in allowed and key not in known_keys() and key not in GROUPS:
            raise UserError(f"unknown key '{key}'{nearest(key, allowed)} Allowed: {', '.join(allowed)}")
    if "data" not in words:
        raise UserError("prepare needs data=NAME; python -m data2vec prepare --help")
    choice = data_choice(words)
    mirror = words.get("data_mirror") or None
    if mirror and not Path(mirror).is_dir():
        raise UserError(f"data_mirror = {mirror}: no such folder")
    offline = words.get("offline", "false").lower() == "true"
    manifest = run(choice, Path(words.get("data_dir", "results/data")), Path(mirror) if mirror else None, offline)
    log.info("prepared: %s", manifest)


def pretrain(words: Words) -> None:
    """Pre-train one model. The same command again continues an unfinished run.

    python -m data2vec pretrain method=data2vec2 modality=vision model=mini data=cifar10 run_dir=results/my_run

    run_dir       the run's folder
    """
    from data2vec.training.pretrain import pretrain as run

    run_dir = _take_path(words, "run_dir", "pretrain")
    run(compose(words), run_dir)


def finetune(words: Words) -> None:
    """Fine-tune a pre-trained encoder, or the same network from scratch, on a task of config/run/task/.

    python -m data2vec finetune init_run=results/my_run task=an4 run_dir=results/my_run/finetune/an4

    init_run      folder of the pre-training run; with finetune.init=scratch only its configuration is used
    run_dir       folder of this run
    """
    from data2vec.downstream.finetune import finetune as run

    init_run = _take_path(words, "init_run", "finetune")
    run_dir = _take_path(words, "run_dir", "finetune")
    if "init" in words:
        words["finetune.init"] = words.pop("init")
    run(amend(init_run / "config.yaml", words), init_run, run_dir)


def evaluate(words: Words) -> None:
    """Evaluate frozen features: linear probe and k-nearest neighbours.

    python -m data2vec evaluate run_dir=results/my_run out=results/my_run/probe/metrics.json

    run_dir       folder of the pre-training run
    out           file for the metrics
    """
    from data2vec.downstream.probe import evaluate as run

    run_dir = _take_path(words, "run_dir", "evaluate")
    out = _take_path(words, "out", "evaluate")
    config = Path(words.pop("config", run_dir / "config.yaml"))
    run(amend(config, words), run_dir, out)


def import_checkpoint(words: Words) -> None:
    """Import a checkpoint of the original implementations, or a model of Hugging Face, into a run folder.

    python -m data2vec import file=base_libri.pt run_dir=results/imported/base_libri licence=MIT

    file          .pt or .pth file of fairseq (1.0, 2.0) or of the BEiT-based script, or a folder with config.json of
                  data2vec-audio, data2vec-text, data2vec-vision, wav2vec2 or vit_mae; nothing in it is run
    run_dir       new folder, which finetune init_run= and evaluate run_dir= then take
    licence       of the weights, kept in the folder's provenance
    """
    from data2vec.interop.huggingface import import_huggingface
    from data2vec.interop.importing import import_checkpoint as import_original

    _allow(words, "file", "run_dir", "licence")
    file, run_dir = _take_path(words, "file", "import"), _take_path(words, "run_dir", "import")
    run = import_huggingface if file.is_dir() else import_original
    found = run(file, run_dir, words.get("licence"))
    log.info("imported: %s\n%s", run_dir, found.text())


def report(words: Words) -> None:
    """Build results.csv, tables, figures and the page from the run folders.

    python -m data2vec report results=results reports=reports

    results       folder with run folders
    reports       folder for the report
    published     folder with the published tables (default config/published)
    experiments   folder with the experiment files (default config/experiments)
    claims        claims ledger (default config/claims.yaml)
    scale         only this scale
    paper         one table or figure of a paper (config/papers.yaml) instead, into reports/papers/
    papers_page   the page that maps all of them to targets and costs (docs/papers.md) instead, into this file
    """
    from data2vec.config import nearest
    from data2vec.reporting.report import build_report

    defaults = {
        "results": "results",
        "reports": "reports",
        "published": "config/published",
        "experiments": "config/experiments",
        "claims": "config/claims.yaml",
    }
    for key in words:
        allowed = [*defaults, "scale", "paper", "papers_page"]
        if key not in allowed:
            raise UserError(f"unknown key '{key}'{nearest(key, allowed)}")
    paths = {key: Path(words.get(key, default)) for key, default in defaults.items()}
    if "papers_page" in words:
        from data2vec.reporting.papers_page import write_page

        write_page(Path("config"), Path(words["papers_page"]))
        return
    if "paper" in words:
        from data2vec.reporting.papers import build_paper

        places = {"papers": Path("config/papers.yaml")} | {key: paths[key] for key in ("published", "experiments")}
        made = build_paper(words["paper"], paths["results"], paths["reports"], places, words.get("scale"))
        log.info("paper: %s", made)
        return
    log.info("report: %s", build_report(**paths, scale=words.get("scale")))


def benchmark(words: Words) -> None:
    """Measure the training step of one configuration on this machine, without data loading.

    python -m data2vec benchmark method=data2vec2 model=mini data=cifar10 train.precision=bf16

    The time is added to results/benchmarks.jsonl, which `python -m data2vec plan` reads.
    """
    from data2vec.plan import BENCHMARKS
    from data2vec.training.benchmark import benchmark as run

    run(compose(words), BENCHMARKS)


def plan(words: Words) -> None:
    """What every job of the workflow will cost: hours, GPU-hours, memory, disk, money, energy.

    python -m data2vec plan scale=paper experiments=all seeds=3 gpu=h100 gpus=8 rate=2.0

    scale, experiments, seeds, ...   every key of config/config.yaml
    gpu           card, default that of the scale; tflops=, memory_gb=, power_w= for another one
    gpus          cards of a pre-training and of a fine-tuning (default as the scale asks)
    utilisation   share of the card's peak that training reaches, where no step was measured
    rate          price of an hour of one card
    measure       true: measure the steps that are missing, on this machine, first
    out           .csv file for the table; an .md file is written beside it
    """
    from data2vec.plan import command

    command(words)


def export(words: Words) -> None:
    """Write a model as a folder for others: for transformers, or for data2vec.load.

    python -m data2vec export run_dir=results/my_run out=results/my_model

    run_dir       run folder, or any other checkpoint
    out           new folder
    format        huggingface (where transformers has such a model) or data2vec (every model); default: what is possible
    weights       student (default) or teacher
    """
    from data2vec.interop.export import export as run

    _allow(words, "run_dir", "out", "format", "weights")
    source, out = _take_path(words, "run_dir", "export"), _take_path(words, "out", "export")
    log.info("exported: %s", run(source, out, words.get("format"), words.get("weights", "student")))


def extract(words: Words) -> None:
    """Features of the files in a folder: images, recordings (16 kHz made of any rate) or .txt files.

    python -m data2vec extract checkpoint=results/my_run input=MY/FILES output=results/my_features

    checkpoint    run folder, exported folder, Hugging Face folder, or file of the original implementations
    input         folder with files, also in subfolders
    output        folder for one .npy per file, (positions, D) float32, under the names of the inputs
    layer         0 = what enters the first block, k = behind block k; default: the encoder's output
    weights       student (default) or teacher
    pooling       none (default), mean over positions, or class_token

    The same command again makes what is missing. Inputs that cannot be read are listed in output/unreadable.csv,
    and the command then ends with exit code 2.
    """
    from data2vec.interop.extract import Choice
    from data2vec.interop.extract import extract as run

    _allow(words, "checkpoint", "input", "output", "layer", "weights", "pooling")
    checkpoint, inputs, out = (_take_path(words, key, "extract") for key in ("checkpoint", "input", "output"))
    layer = words.get("layer")
    if layer is not None and not layer.isdecimal():
        raise UserError(f"layer = {layer} is not allowed: it must be a whole number from 0")
    choice = Choice(int(layer) if layer else None, words.get("weights", "student"), words.get("pooling", "none"))
    run(checkpoint, inputs, out, choice)


def describe(words: Words) -> None:
    """Say what a checkpoint is: architecture, version, size, licence, training data, where from.

    python -m data2vec describe checkpoint=PATH

    checkpoint    run folder, exported folder, Hugging Face folder, or file of the original implementations
    """
    from data2vec.interop.describe import describe as run

    _allow(words, "checkpoint")
    sys.stdout.write(run(_take_path(words, "checkpoint", "describe")))


COMMANDS: dict[str, Callable[[Words], None]] = {
    "prepare": prepare,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "benchmark": benchmark,
    "plan": plan,
    "import": import_checkpoint,
    "report": report,
    "export": export,
    "extract": extract,
    "describe": describe,
}
WITHOUT_CONFIGURATION = ("prepare", "import", "plan", "report", "export", "extract", "describe")
"""Commands that take no keys of the configuration of a run."""


def _allow(words: Words, *allowed: str) -> None:
    from data2vec.config import nearest

    for key in words:
        if key not in allowed:
            raise UserError(f"unknown key '{key}'{nearest(key, list(allowed))} Allowed: {', '.join(allowed)}")


def _take_path(words: Words, key: str, command: str) -> Path:
    if key not in words:
        raise UserError(f"{command} needs {key}=...; python -m data2vec {command} --help")
    return Path(words.pop(key))


def _overview() -> str:
    lines = ["usage: python -m data2vec COMMAND key=value ...", ""]
    lines += [f"  {name:10} {(c.__doc__ or '').splitlines()[0]}" for name, c in COMMANDS.items()]
    return "\n".join([*lines, "", "python -m data2vec COMMAND --help tells more."]) + "\n"


def _help_on_keys(name: str) -> str:
    if name in WITHOUT_CONFIGURATION:
        return "\n"
    from data2vec.compose import CONFIG_DIR
    from data2vec.config import describe_keys

    lines = ["", "", "groups (config/run/):"]
    for group in GROUPS:
        options = sorted(p.stem for p in (CONFIG_DIR / group).glob("*.yaml"))
        lines.append(f"  {group:10} {', '.join(options)}")
    return "\n".join([*lines, "", "keys (defaults of the schema; recipes change them):", *describe_keys(), ""])
