"""Runner for mask statistics: draws as many masks as the original did and compares the distributions."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data2vec.masking import (
    beit_block_masks,
    block_masks_1d,
    block_masks_2d,
    corrupt_tokens,
    random_masks,
    span_masks,
    token_masks,
)

from ..compare import Case
from ..mask_statistics import (
    Masks,
    Rows,
    Samples,
    Values,
    bounding_box_area,
    compare_share,
    compare_shares,
    compare_values,
    components,
    mean_neighbours,
    runs,
)

Sampler = Callable[[dict[str, Any], np.random.Generator], Masks]
Tables = dict[str, tuple[Values, Rows | None]]


def run(case: Case) -> None:
    """Compare every statistic and every table of the case; one that is unknown is an error."""
    config = dict(case.config)
    rng = np.random.default_rng(int(config.pop("seed")))
    generator = config.pop("generator")
    if generator == "bert_tokens":
        _run_tokens(case, config, rng)
        return
    draws, batch = int(config.pop("draws")), int(config.get("batch", 1))
    masks = SAMPLERS[generator](config | {"draws": draws}, rng)
    # Equal counts make the rows of a batch of span masks depend on each other.
    depends = generator == "index_spans" and config.get("require_same_masks", True)
    samples = Samples(int(case.description["statistics"]["rows"]), len(masks), batch if depends else 1)
    if "grid" in config:
        _compare_grid(case, masks.reshape(-1, config["grid"], config["grid"]), samples, batch)
    else:
        lengths = np.tile(np.asarray(config.get("lengths") or [config["length"]] * batch), draws)
        _compare_line(case, masks, lengths, samples, batch)


def _spans(c: dict[str, Any], rng: np.random.Generator) -> Masks:
    valid = np.asarray(c["lengths"]) if "lengths" in c else None
    options = {"min_spans": c.get("min_masks", 0), "equal_counts": c["require_same_masks"], "valid": valid}
    options["add_masks"] = c.get("add_masks", False)
    args = (c["batch"], c["length"], c["mask_prob"], c["mask_length"], rng)
    return np.concatenate([span_masks(*args, **options) for _ in range(c["draws"])])


def _block_options(c: dict[str, Any]) -> dict[str, Any]:
    return {
        "adjust": c.get("mask_prob_adjust", 0.0),
        "inverse": c["inverse_mask"],
        "expand_adjacent": c.get("expand_adjacent", False),
        "non_overlapping": c.get("non_overlapping", False),
        "equal_counts": c["require_same_masks"],
    }


def _line_blocks(c: dict[str, Any], rng: np.random.Generator) -> Masks:
    rows = c["draws"] * c["batch"]
    return block_masks_1d(rows, c["length"], c["mask_prob"], c["mask_length"], rng, **_block_options(c))


def _grid_blocks(c: dict[str, Any], rng: np.random.Generator) -> Masks:
    rows = c["draws"] * c["batch"]
    return block_masks_2d(rows, c["grid"], c["mask_prob"], c["mask_length"], rng, **_block_options(c))


def _beit_blocks(c: dict[str, Any], rng: np.random.Generator) -> Masks:
    limits = {"min_block": c["min_mask_patches_per_block"], "max_block": c["max_mask_patches_per_block"]}
    return beit_block_masks(c["draws"] * c["batch"], c["grid"], c["num_mask_patches"], rng, **limits)


def _uniform(c: dict[str, Any], rng: np.random.Generator) -> Masks:
    return random_masks(c["draws"] * c["batch"], c["length"], c["mask_prob"], rng)


SAMPLERS: dict[str, Sampler] = {
    "index_spans": _spans,
    "block_1d": _line_blocks,
    "inverse_block": _grid_blocks,
    "beit_block": _beit_blocks,
    "uniform_random": _uniform,
}


def _compare_line(case: Case, masks: Masks, lengths: Values, samples: Samples, batch: int) -> None:
    number, length, row_of = runs(masks)
    hidden = masks.sum(axis=1).astype(float)
    is_in_padding = np.arange(masks.shape[1]) >= lengths[:, None]
    in_padding = (masks & is_in_padding).sum(axis=1)
    values = {
        "mask_ratio": hidden / masks.shape[1],
        "mask_ratio_of_full_length": hidden / masks.shape[1],
        "mask_ratio_of_valid_length": hidden / lengths,
        "masked_count": hidden,
        "kept_count": masks.shape[1] - hidden,
        "number_of_maximal_spans": number,
    }
    shares = {"first_position_mask_rate": masks[:, 0], "last_position_mask_rate": masks[:, -1]}
    for name, stored in case.description["statistics"].items():
        if name in values:
            compare_values(case, name, values[name], stored, samples)
        elif name in shares:
            compare_share(case, name, shares[name], stored, samples)
        elif name == "span_length":
            compare_values(case, name, length, stored, samples, row_of)
        elif name == "share_of_masked_frames_in_padding":
            compare_share(case, name, is_in_padding[masks], stored, samples, np.nonzero(masks)[0])
        elif name == "batches_with_equal_counts_share":
            _compare_equal_counts(case, hidden, stored, samples, batch)
        elif name == "distinct_masked_counts":
            _compare_distinct(case, hidden, stored, samples)
        elif name.startswith("row"):
            if name != "rows":
                _compare_row(case, name, hidden, in_padding, stored, samples, batch)
        else:
            raise KeyError(f"statistic {name} has no comparison")
    tables: Tables = {"masked_count": (hidden, None), "span_length": (np.minimum(length, 60), row_of)}
    _compare_tables(case, masks, tables, samples)


def _compare_grid(case: Case, masks: Masks, samples: Samples, batch: int) -> None:
    kept_number, kept_largest, kept_sizes, row_of = components(~masks)
    number, largest, _, _ = components(masks)
    hidden = masks.sum(axis=(1, 2)).astype(float)
    cells = masks.shape[1] ** 2
    middle = masks.shape[1] // 2
    values = {
        "mask_ratio": hidden / cells,
        "masked_count": hidden,
        "kept_count": cells - hidden,
        "kept_components_4connected": kept_number,
        "largest_kept_component": kept_largest,
        "masked_components_4connected": number,
        "largest_masked_component": largest,
        "kept_bounding_box_area": bounding_box_area(~masks),
        "mean_kept_4neighbours_of_a_kept_patch": mean_neighbours(~masks),
    }
    for name, stored in case.description["statistics"].items():
        if name in values:
            compare_values(case, name, values[name], stored, samples)
        elif name == "kept_component_size":
            compare_values(case, name, kept_sizes, stored, samples, row_of)
        elif name == "kept_rate_corner_mean":
            corners = ~masks[:, [0, 0, -1, -1], [0, -1, 0, -1]]
            compare_share(case, name, corners.ravel(), stored, samples, np.arange(len(masks)).repeat(4))
        elif name == "kept_rate_centre":
            compare_share(case, name, ~masks[:, middle, middle], stored, samples)
        elif name == "batches_with_equal_counts_share":
            _compare_equal_counts(case, hidden, stored, samples, batch)
        elif name != "rows":
            raise KeyError(f"statistic {name} has no comparison")
    tables: Tables = {
        "masked_count": (hidden, None),
        "kept_component_count": (kept_number, None),
        "kept_component_size": (kept_sizes, row_of),
    }
    _compare_tables(case, masks.reshape(len(masks), -1), tables, samples)


def _compare_equal_counts(case: Case, hidden: Values, stored: float, samples: Samples, batch: int) -> None:
    same = (hidden.reshape(-1, batch) == hidden.reshape(-1, batch)[:, :1]).all(axis=1)
    batches = Samples(samples.stored // batch, samples.ours // batch)
    compare_share(case, "batches_with_equal_counts", same, stored, batches)


def _compare_distinct(case: Case, hidden: Values, stored: dict[str, float], samples: Samples) -> None:
    limit = 25.0 * samples.cluster
    case.check_number("distinct_masked_counts.min", float((hidden < stored["min"]).sum()), 0.0, limit)
    case.check_number("distinct_masked_counts.max", float((hidden > stored["max"]).sum()), 0.0, limit)
    distinct, expected = len(np.unique(hidden)), stored["n_distinct"]
    case.check_number("distinct_masked_counts.n", distinct, expected, 0.0 if expected == 1 else 3 + 0.3 * expected)


def _compare_row(
    case: Case,
    name: str,
    hidden: Values,
    in_padding: Values,
    stored: dict[str, Any],
    samples: Samples,
    batch: int,
) -> None:
    """Statistics of one row of each batch, named row<index>_length<frames>."""
    index = int(name.removeprefix("row").split("_")[0])
    alone = Samples(samples.stored // batch, samples.ours // batch)
    compare_values(case, f"{name}.masked_count", hidden[index::batch], stored["masked_count"], alone)
    hits = in_padding[index::batch].astype(float)
    ours, theirs = hits.mean(), stored["padding_hits"] / alone.stored
    case.check_number(f"{name}.padding_hits", float(ours), theirs, 5 * alone.error(hits))


def _compare_tables(case: Case, masks: Masks, values: Tables, samples: Samples) -> None:
    """Every csv file of the case: rates by position, or shares by value."""
    for path in sorted(case.folder.glob("*.csv")):
        rows = _read(path)
        if path.stem in ("patch_mask_rate", "position_mask_rate"):
            stored = [rate for row in rows for rate in row[1:]]
            for position, (is_hidden, rate) in enumerate(zip(masks.T, stored, strict=True)):
                compare_share(case, f"{path.stem}[{position}]", is_hidden, rate, samples)
        else:
            found, row_of = values[path.stem.removesuffix("_distribution")]
            compare_shares(case, path.stem, found, {row[0]: row[1] for row in rows}, samples, row_of)


def _read(path: Path) -> list[list[float]]:
    with path.open() as lines:
        return [[float(cell) for cell in row] for row in list(csv.reader(lines))[1:]]


def _run_tokens(case: Case, c: dict[str, Any], rng: np.random.Generator) -> None:
    """Sentences of ordinary words, ids from 4 on; the mask token is the last id."""
    words = int(c["n_words"])
    low, high = c.get("length_range") or (c["length"], c["length"])
    lengths = rng.integers(low, high + 1, size=int(c["draws"]))
    tokens = rng.integers(4, 4 + words, size=(len(lengths), high))
    shares = {"keep": c["leave_unmasked_prob"], "randomise": c["random_token_prob"]}
    masks = token_masks(lengths, high, c["mask_prob"], rng, span=c.get("mask_multiple_length", 1), **shares)
    corrupted = corrupt_tokens(tokens, masks, 4 + words, (4, 5 + words), rng)
    _compare_tokens(case, lengths, tokens, corrupted, masks.is_selected, words)


def _compare_tokens(
    case: Case, lengths: Values, tokens: Values, corrupted: Values, is_selected: Masks, words: int
) -> None:
    stored = case.description["statistics"]
    samples = Samples(int(stored["sentences"]), len(lengths))
    count = is_selected.sum(axis=1).astype(float)
    inside = np.arange(is_selected.shape[1]) < lengths[:, None]
    case.check_number("selected in padding", float((is_selected & ~inside).sum()), 0.0, 0.0)
    case.check_number("changed outside the selection", float(((tokens != corrupted) & ~is_selected).sum()), 0.0, 0.0)
    compare_values(case, "selected_ratio", count / lengths, stored["selected_ratio"], samples)
    compare_values(case, "selected_count", count, stored["selected_count"], samples)
    _, length, row_of = runs(is_selected)
    compare_values(case, "maximal_span_length", length, stored["maximal_span_length"], samples, row_of)
    new, old = corrupted[is_selected], tokens[is_selected]
    is_mask, is_same = new == 4 + words, new == old
    fates = {"mask_token": is_mask, "random_token": ~is_mask & ~is_same, "unchanged": is_same}
    for fate, expected in stored["of_selected"].items():
        compare_share(case, f"of_selected.{fate}", fates[fate], expected, samples, np.nonzero(is_selected)[0])
    last = np.take_along_axis(is_selected, lengths[:, None] - 1, axis=1)
    compare_share(case, "first_token", is_selected[:, 0], stored["first_token_selected_rate"], samples)
    compare_share(case, "last_token", last[:, 0], stored["last_token_selected_rate"], samples)
    _compare_replacements(case, new[fates["random_token"]], stored["random_replacement_id"], words)
    for path in sorted(case.folder.glob("*.csv")):
        rows = _read(path)
        if path.stem == "selected_count_distribution":
            compare_shares(case, path.stem, count, {row[0]: row[1] for row in rows}, samples)
        elif path.stem == "position_selected_rate":
            for position, expected in rows:
                there = inside[:, int(position)]
                reach = Samples(round(samples.stored * there.mean()), int(there.sum()))
                is_so = is_selected[there, int(position)]
                compare_share(case, f"{path.stem}[{position:g}]", is_so, expected, reach)
        else:
            raise KeyError(f"table {path.name} has no comparison")


def _compare_replacements(case: Case, ids: Values, stored: dict[str, Any], words: int) -> None:
    """Random ids are drawn from all words and the mask token, never from the four special tokens."""
    case.check_number("random ids below 4", float((ids < 4).sum()), float(stored["ids_below_4"]), 0.0)
    if stored["min"] is None:
        case.check_number("random ids", float(len(ids)), 0.0, 0.0)
        return
    gap = 20 * words / len(ids)  # between an extreme of the sample and of the range
    case.check_number("random_replacement_id.min", float(ids.min()), float(stored["min"]), gap)
    case.check_number("random_replacement_id.max", float(ids.max()), float(stored["max"]), gap)


KINDS = {"mask_stats": run}
