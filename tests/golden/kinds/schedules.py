"""Runner for tables of learning rates, teacher decay and layer-wise factors."""

import csv
from collections import defaultdict
from typing import Any

from data2vec.training.layer_decay import layer_decay_scales, layer_id
from data2vec.training.schedules import (
    LearningRate,
    beit_ema_decay,
    ema_decay,
    mae_cosine,
    stage_lengths,
)

from ..compare import Case

Row = dict[str, str]


def run(case: Case) -> None:
    """Compare every table of the case; a table without a comparison is an error.

    Not compared: when the released code moves its teacher. Here it moves once for each update (`# differs:` in
    training/loop.py), which tests/training/test_resume.py checks on the trainer itself.
    """
    tables = {
        "ema_decay.csv": _ema_decay,
        "ema_decay_beit.csv": _ema_decay_beit,
        "layer_decay.csv": _layer_decay,
        "lr.csv": _lr,
        "lr_beit.csv": _lr_beit,
        "lr_mae.csv": _lr_mae,
    }
    for path in sorted(case.folder.glob("*.csv")):
        if path.name == "teacher_update_trigger.csv":
            continue
        with path.open() as lines:
            tables[path.name](case, list(csv.DictReader(lines)))


def _compare(case: Case, table: str, rows: list[tuple[str, float, float]]) -> None:
    """Compare (curve, ours, expected); each curve is one tensor to the tolerance rule."""
    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for curve, ours, expected in rows:
        curves[curve].append((ours, expected))
    rtol = float(case.description["tolerance"]["rtol"])
    for curve, pairs in curves.items():
        difference = max(abs(ours - expected) for ours, expected in pairs)
        allowed = rtol * max(abs(expected) for _, expected in pairs)
        case.check_number(f"{table}/{curve}", difference, 0.0, allowed)


def _named(case: Case, section: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in case.config[section]}


def _ema_decay(case: Case, rows: list[Row]) -> None:
    def ours(row: Row) -> float:
        update, anneal = int(row["update_number"]), int(row["anneal_end_step"])
        return ema_decay(update, float(row["start"]), float(row["end"]), anneal)

    _compare(case, "ema_decay", [(row["name"], ours(row), float(row["decay"])) for row in rows])


def _ema_decay_beit(case: Case, rows: list[Row]) -> None:
    first = {name: entry.get("first_iteration", 0) for name, entry in _named(case, "ema_beit").items()}

    def ours(row: Row) -> float:
        iteration, anneal = int(row["iteration_from_0"]), int(row["anneal_end_iteration"])
        return beit_ema_decay(iteration, first[row["name"]], float(row["start"]), float(row["end"]), anneal)

    _compare(case, "ema_decay_beit", [(row["name"], ours(row), float(row["decay"])) for row in rows])


def _layer_decay(case: Case, rows: list[Row]) -> None:
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["flavour"], row["blocks"], row["decay"]].append(row)
    for (flavour, blocks, decay), members in groups.items():
        rule = flavour.split("/")[0]
        scales = layer_decay_scales([row["parameter"] for row in members], rule, float(decay))
        curve = f"{rule} {blocks} blocks"
        ids = [(curve, layer_id(r["parameter"], rule, int(blocks)), float(r["layer_id"])) for r in members]
        _compare(case, "layer_id", [(name, float(ours), expected) for name, ours, expected in ids])
        factors = [(curve, scales[row["parameter"]], float(row["lr_scale"])) for row in members]
        _compare(case, "layer_decay", factors)


def _learning_rate(entry: dict[str, Any]) -> LearningRate:
    """The schedule of a case, whose options have fairseq's names."""
    options = dict(entry["cfg"])
    total, warmup = int(entry["max_update"]), int(options.pop("warmup_updates", 0))
    given: dict[str, Any] = {}
    if "phase_ratio" in options:
        given["stages"] = stage_lengths(tuple(options.pop("phase_ratio")), total)
    elif entry["type"] == "tri_stage":
        given["stages"] = tuple(int(options.pop(f"{stage}_steps", 0)) for stage in ("warmup", "hold", "decay"))
    names = {
        "min_lr": "floor",
        "end_learning_rate": "floor",
        "warmup_init_lr": "start",
        "init_lr_scale": "start_scale",
        "final_lr_scale": "final_scale",
        "power": "power",
    }
    total = int(options.pop("total_num_update", total))
    given |= {names[option]: float(value) for option, value in options.items()}
    schedule = "polynomial" if entry["type"] == "polynomial_decay" else entry["type"]
    return LearningRate(schedule, float(entry["lr"]), total, warmup, **given)


def _lr(case: Case, rows: list[Row]) -> None:
    entries = _named(case, "lr")

    def ours(row: Row) -> float:
        rate = _learning_rate(entries[row["name"]])
        if row["update_number"] != "initial":
            return rate.at(int(row["update_number"]))
        # Before its first call, the polynomial schedule already holds the first rate above zero.
        return rate.at(1 if rate.schedule == "polynomial" and rate.warmup else 0)

    _compare(case, "lr", [(row["name"], ours(row), float(row["lr"])) for row in rows])


def _lr_beit(case: Case, rows: list[Row]) -> None:
    entries = _named(case, "lr_beit")

    def ours(row: Row) -> float:
        entry = entries[row["name"]]
        per_epoch = int(entry["iters_per_epoch"])
        total = int(entry["epochs"]) * per_epoch
        peak, floor = float(entry["base"]), float(entry["final"])
        if row["type"] == "cosine":
            rate = LearningRate("beit_cosine", peak, total, int(entry["warmup_epochs"] * per_epoch), floor)
        else:
            warmup, decay = int(entry["warmup"] * total), int(entry["decay"] * total)
            rate = LearningRate("beit_tri_phase", peak, total, warmup, floor, decay=decay)
        return rate.at(int(row["iteration_from_0"]))

    _compare(case, "lr_beit", [(row["name"], ours(row), float(row["value"])) for row in rows])


def _lr_mae(case: Case, rows: list[Row]) -> None:
    entries = _named(case, "lr_mae")
    scaled = next(column for column in rows[0] if column.startswith("lr_of_a_group_with_scale_"))
    scale = float(scaled.rsplit("_", 1)[1])
    compared = []
    for row in rows:
        entry = entries[row["name"]]
        peak, floor = float(entry["lr"]), float(entry["min_lr"])
        warmup, total = float(entry["warmup_epochs"]), float(entry["epochs"])
        ours = mae_cosine(float(row["fractional_epoch"]), peak=peak, warmup=warmup, total=total, floor=floor)
        compared += [(row["name"], ours, float(row["lr"]))]
        compared += [(f"{row['name']} scaled", ours * scale, float(row[scaled]))]
    _compare(case, "lr_mae", compared)


KINDS = {"schedules": run}
