"""What was recognised: error rates with their intervals, and decoded text beside its reference.

Read from the details that a fine-tuning for recognition leaves beside its rows (`test.<split>.greedy|beam_lm`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.collect import score_dataset
from data2vec.reporting.files import number
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, method_label, method_rank
from data2vec.reporting.runs import Run

SEARCHES = {"wer": "greedy", "wer_lm": "beam_lm"}
WORST_MAX = 5
EXAMPLES_MAX = 5


@dataclass(frozen=True)
class Utterance:
    """One utterance as columns of (reference, decoded, edit): edit is "", "S", "D" or "I"."""

    name: str
    edits: str  # "5 of 6 words wrong", or ""
    columns: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Decoded:
    """Utterances of one method on one data set."""

    title: str
    examples: list[tuple[str, str, str]]  # name, reference, decoded
    worst: list[Utterance]


def error_rates(frame: pd.DataFrame, runs: list[Run]) -> Table | None:
    """Word error rate without and with a language model, each with its bootstrap interval; None without any."""
    scores = stats.main_scores(frame)
    scores = scores[scores["metric"].isin(list(SEARCHES)) & (scores["n"] > 0)]
    if scores.empty:
        return None
    letters = stats.summarise(frame[(frame["experiment"] == "main") & (frame["metric"] == "cer")])
    found = {(run.scale, run.method, where, search): content for run, where, search, content in _tests(runs)}
    rows: list[tuple[str, ...]] = []
    groups = scores.groupby(["scale", "dataset", "method", "model"], sort=True)
    for (scale, dataset, method, model), part in sorted(
        groups, key=lambda item: (item[0][:2], method_rank(item[0][2]))
    ):
        cells = [method_label(method)]
        for metric, search in SEARCHES.items():
            row = next((row for row in part.to_dict("records") if row["metric"] == metric), None)
            content = found.get((scale, method, dataset, search), {})
            cells += ["", ""] if row is None else [_mean(row), interval(content.get("wer_interval"))]
        letter = letters[(letters["scale"] == scale) & (letters["dataset"] == dataset) & (letters["method"] == method)]
        cells.append(_mean(letter.iloc[0].to_dict()) if len(letter) else "")
        greedy = found.get((scale, method, dataset, "greedy"), {})
        counts = [greedy.get(key) for key in ("substitutions", "deletions", "insertions")]
        cells += [" / ".join(map(str, counts)) if all(isinstance(count, int) for count in counts) else ""]
        cells += [str(part["n"].max()), ", ".join(filter(None, (dataset, model)))]
        rows.append(tuple(cells))
    columns = ("method", "WER", "95 %", "WER with LM", "95 % ", "letters", "S / D / I", "n", "on")
    note = (
        "WER: word error rate in %, lower is better, mean ± standard deviation over n seeds. 95 %: the range of "
        "resampled utterances (bootstrap) of the first seed, so the spread over the test set, not over seeds. LM: beam "
        "search with a language model. letters: letter error rate in %, greedy. S / D / I: words substituted, deleted "
        "and inserted, greedy, first seed."
    )
    return Table("wer", "Word error rates", columns, rows, note, frozenset(columns[1:8]))


def interval(content: Any) -> str:
    """`[12.3, 14.5]` as words; "" for anything else."""
    if not isinstance(content, list) or len(content) != 2:
        return ""
    low, high = map(number, content)
    return f"{fmt(low, '%')} to {fmt(high, '%')}" if low == low and high == high else ""


def decoded(runs: list[Run]) -> list[Decoded]:
    """Examples and the worst utterances of each method's first seed, with a language model where there is one."""
    found: dict[tuple[str, str, str], Decoded] = {}
    for run, where, search, content in sorted(
        _tests(runs), key=lambda test: (test[1], method_rank(test[0].method), test[2] != "beam_lm")
    ):
        key = (run.scale, run.method, where)
        examples = [_example(entry) for entry in _entries(content, "examples")][:EXAMPLES_MAX]
        worst = [_utterance(entry) for entry in _entries(content, "worst")][:WORST_MAX]
        if key not in found and (examples or worst):
            how = "with a language model" if search == "beam_lm" else "greedy"
            found[key] = Decoded(f"{method_label(run.method)} on {where}, {how}", examples, worst)
    return list(found.values())


def decoded_table(parts: list[Decoded]) -> Table:
    """The examples as a table, for its files."""
    rows: list[tuple[str, ...]] = [(part.title, *example) for part in parts for example in part.examples]
    return Table("decoded", "Decoded text", ("run", "utterance", "reference", "decoded"), rows)


def _tests(runs: list[Run]) -> Iterator[tuple[Run, str, str, dict[str, Any]]]:
    """(run, data set, search, details) of each method's first seed that has them, main fine-tunings only."""
    seen: dict[tuple[str, str, str, str], Any] = {}
    for run in runs:
        for stage, metrics in run.metrics.items():
            tests = metrics.get("test")
            if "--" in stage or run.experiment != "main" or not isinstance(tests, dict):
                continue
            rows = metrics.get("rows")
            base = next((str(r["dataset"]) for r in rows or [] if isinstance(r, dict) and r.get("dataset")), "")
            for split, searches in tests.items():
                name = f"{base.partition('/')[0]}/{split}" if len(tests) > 1 else base
                for search, content in (searches if isinstance(searches, dict) else {}).items():
                    where = score_dataset(stage, name)
                    key = (run.scale, run.method, where, search)
                    if isinstance(content, dict) and key not in seen:
                        seen[key] = content
                        yield run, where, search, content


def _entries(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = content.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _example(entry: dict[str, Any]) -> tuple[str, str, str]:
    name, reference, hypothesis = (str(entry.get(key) or "") for key in ("name", "reference", "hypothesis"))
    return name, reference, hypothesis


def _utterance(entry: dict[str, Any]) -> Utterance:
    edits, words = entry.get("edits"), entry.get("words")
    said = f"{edits} edits, {words} words" if edits is not None and words is not None else ""
    return Utterance(str(entry.get("name") or ""), said, _columns(entry.get("alignment")))


def _columns(alignment: Any) -> list[tuple[str, str, str]]:
    """The words of an alignment's lines in pairs; a gap is written as asterisks."""
    lines = alignment if isinstance(alignment, list) else str(alignment or "").splitlines()
    words = {str(line)[:4]: str(line)[4:].split() for line in lines[:2]}
    pairs = zip(words.get("REF:", []), words.get("HYP:", []), strict=False)
    return [_pair(reference, hypothesis) for reference, hypothesis in pairs]


def _pair(reference: str, hypothesis: str) -> tuple[str, str, str]:
    if not hypothesis.strip("*"):
        return reference, "", "D"
    if not reference.strip("*"):
        return "", hypothesis, "I"
    return reference, hypothesis, "" if reference == hypothesis else "S"


def _mean(row: dict[str, Any]) -> str:
    spread = fmt(row["std"], row["unit"])
    return fmt(row["mean"], row["unit"]) + (f" ± {spread}" if spread else "")
