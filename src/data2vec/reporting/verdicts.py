"""Verdicts: one comparison of the ledger, computed from the rows of results.csv alone.

A verdict rests on differences within seeds: the same seed means the same data order and the same start. It is
"supported" where the whole interval lies above the smallest gain that counts, "contradicted" where it lies below, and
needs the ledger's number of seeds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import number
from data2vec.reporting.ledger import Best, Comparison, Ledger, Over, Presence, TimeRatio, Trend
from data2vec.reporting.names import RAW_INPUT, lower_is_better, method_label, modality_label
from data2vec.reporting.time_to_score import along_the_run, time_ratios

KEY = ["method", "variant", "seed"]


class Verdict(StrEnum):
    """What the runs say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive at this scale"
    NOT_RUN = "not run"
    DOCUMENTED = "documentation"


@dataclass(frozen=True)
class Finding:
    """One comparison in one modality and on one data set. `effect` is signed: more is what the claim says."""

    comparison: str
    experiment: str
    modality: str
    verdict: Verdict
    reason: str
    subject: str = ""  # what was set against what
    dataset: str = ""
    metric: str = ""
    unit: str = ""  # of the effect
    threshold: float = math.nan
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0  # seeds


@dataclass(frozen=True)
class Judge:
    """How a comparison turns gains into a verdict."""

    threshold: float
    seeds: int
    confidence: float
    equal: bool = False

    def __call__(self, gains: list[float], found: Finding, choices: int = 1) -> Finding:
        """`found` with its verdict; where the best of several was taken, its interval is that much wider."""
        n = len(gains)
        effect = sum(gains) / n if n else math.nan
        found = replace(found, effect=effect, n=n, threshold=self.threshold)
        if n < self.seeds:
            return replace(found, verdict=Verdict.NOT_RUN, reason=too_few(n, self.seeds))
        interval = stats.mean_interval(gains, 1 - (1 - self.confidence) / choices)
        if interval is None:
            return replace(found, verdict=Verdict.NOT_RUN, reason=too_few(n, stats.PAIRS_MIN))
        low, high = interval
        found = replace(found, low=low, high=high)
        verdict, reason = self._within(low, high) if self.equal else self._above(low, high)
        return replace(found, verdict=verdict, reason=reason)

    def _above(self, low: float, high: float) -> tuple[Verdict, str]:
        if low > self.threshold:
            return Verdict.SUPPORTED, "the whole interval lies above the smallest gain that counts"
        if high < self.threshold:
            return Verdict.CONTRADICTED, "the whole interval lies below the smallest gain that counts"
        return Verdict.INCONCLUSIVE, "the interval holds the smallest gain that counts"

    def _within(self, low: float, high: float) -> tuple[Verdict, str]:
        if -self.threshold < low and high < self.threshold:
            return Verdict.SUPPORTED, "the whole interval lies within the margin"
        if high < -self.threshold or low > self.threshold:
            return Verdict.CONTRADICTED, "the whole interval lies outside the margin"
        return Verdict.INCONCLUSIVE, "the interval crosses the margin"


def too_few(n: int, needed: int) -> str:
    """Why there is no verdict: "one run, 3 seeds are needed"."""
    have = {0: "no seed has all that is compared", 1: "one run"}.get(n, f"{n} seeds")
    return f"{have}, {needed} are needed" if n != 1 else f"{have}, {needed} seeds are needed"


def find(name: str, comparison: Comparison, ledger: Ledger, frame: pd.DataFrame) -> list[Finding]:
    """The findings of one comparison among the rows of one scale: one or more for each of its modalities."""
    found = []
    for modality in comparison.modalities:
        rows = frame[(frame["modality"] == modality) & (frame["experiment"] == comparison.experiment)]
        empty = Finding(name, comparison.experiment, modality, Verdict.NOT_RUN, "")
        found += list(_in_modality(empty, comparison, ledger, rows)) or [
            replace(empty, reason=_absent(comparison, rows, modality))
        ]
    return found


def _in_modality(empty: Finding, comparison: Comparison, ledger: Ledger, rows: pd.DataFrame) -> Iterator[Finding]:
    """By the first metric that lets anything be compared, on each data set that has it."""
    judge = Judge(
        comparison.effect, comparison.seeds or ledger.seeds, ledger.confidence, getattr(comparison, "equal", False)
    )
    modality = empty.modality
    for metric in comparison.metric.get(modality) or ledger.metrics.get(modality, ()):  # type: ignore[call-overload]
        is_timed = isinstance(comparison, TimeRatio)
        chosen = along_the_run(rows, metric) if is_timed else rows[rows["metric"] == metric]
        chosen = chosen.dropna(subset="value")
        groups = ["dataset", "model"] if comparison.experiment == "main" else ["dataset"]
        findings = []
        for key, part in chosen.groupby(groups, sort=True):
            unit = str(part["unit"].iloc[0]).replace("%", "points")
            here = replace(empty, dataset=str(key[0]), metric=metric, unit=unit)
            found = _compare(comparison, part.drop_duplicates([*KEY, "updates"]), here, judge)
            findings += [found] if found is not None else []
        if findings:
            yield from findings
            return


def _compare(comparison: Comparison, rows: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    """One comparison on one data set by one metric; None if it has not what is compared."""
    match comparison:
        case Over():
            return _over(comparison, _scores(rows, comparison.method), here, judge)
        case Best():
            return _best(comparison, _scores(rows, comparison.method), here, judge)
        case Trend():
            return _trend(comparison, rows, here, judge)
        case TimeRatio():
            return _time_ratio(comparison, rows, here, judge)
        case Presence():
            return _presence(comparison, rows, here, judge)
    raise TypeError(f"no rule for {comparison!r}")


def _scores(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Scores, more is better: a row a seed, a column a method (of main runs) or a varied value."""
    column = "method" if set(rows["experiment"]) == {"main"} else "variant"
    sign = -1 if lower_is_better(str(rows["metric"].iloc[0])) else 1
    rows = rows[rows["method"] == method] if method else rows
    signed = rows.assign(value=rows["value"] * sign).drop_duplicates([column, "seed"])
    return signed.pivot(index="seed", columns=column, values="value")


def _over(comparison: Over, scores: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    a, b = comparison.a, comparison.b
    if not {a, b} <= set(scores.columns):
        return None
    if b in RAW_INPUT.values() and scores[b].count() == 1:  # the input is the same for every seed
        scores = scores.assign(**{b: scores[b].dropna().iloc[0]})
    gains = (scores[a] - scores[b]).dropna()
    word = "against" if comparison.equal else "over"
    here = replace(here, subject=f"{method_label(a)} {word} {method_label(b)}")
    return judge(list(gains), here)


def _best(comparison: Best, scores: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    others = [column for column in scores.columns if column != comparison.value]
    if comparison.value not in scores.columns or not others:
        return None
    gains = scores[others].sub(scores[comparison.value], axis=0)
    best = str(gains.mean().idxmax())
    if comparison.kind == "best_at":
        words = f"{comparison.value} over the best of {len(others)} others ({best})"
        return judge(list(-gains[best].dropna()), replace(here, subject=words), len(others))
    words = f"the best of {len(others)} values ({best}) over {comparison.value}"
    return judge(list(gains[best].dropna()), replace(here, subject=words), len(others))


def _trend(comparison: Trend, rows: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    """Page's test over complete seeds, and the gain from the first value to the last."""
    scores = _scores(rows, comparison.method)
    if comparison.against:
        scores = scores - _scores(rows, comparison.against)
    numbers = {column: number(column) for column in scores.columns if scores[column].notna().any()}
    ordered = sorted((x, column) for column, x in numbers.items() if not math.isnan(x))
    if len(ordered) < 2:
        return None
    scores = scores[[column for _, column in ordered]].dropna()
    sign = 1 if comparison.direction == "grows" else -1
    first, last = scores.columns[0], scores.columns[-1]
    over = f", over {comparison.against}" if comparison.against else ""
    here = replace(here, subject=f"from {first} to {last}{over}: {comparison.direction}")
    found = judge(list(sign * (scores[last] - scores[first])), here)
    if found.verdict is Verdict.NOT_RUN or len(ordered) < 3:
        return found
    rises, falls = (stats.ordered_trend(side * sign * scores) for side in (1, -1))
    limit = (1 - judge.confidence) / 2
    words = f"Page's test over {len(ordered)} values: p = {min(rises, falls):.2g}"
    if rises < limit and found.effect > judge.threshold:
        return replace(found, verdict=Verdict.SUPPORTED, reason=words)
    if falls < limit and found.effect < judge.threshold:
        return replace(found, verdict=Verdict.CONTRADICTED, reason=f"{words}, the other way")
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=words)


def _time_ratio(comparison: TimeRatio, rows: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    """On logarithms, so that twice and half as fast are equally far from 1."""
    if comparison.experiment != "main":
        rows = rows.assign(method=rows["variant"])
    if not {comparison.method, comparison.rival} <= set(rows["method"]):
        return None
    ratios = time_ratios(rows, comparison.method, comparison.rival)
    names = (method_label(comparison.rival), method_label(comparison.method))
    here = replace(here, unit="times", subject=f"time of {names[0]} to its best score / time of {names[1]} to it")
    found = replace(judge, threshold=math.log(judge.threshold))([math.log(one.ratio) for one in ratios], here)
    effect, low, high = (math.exp(value) for value in (found.effect, found.low, found.high))
    found = replace(found, effect=effect, low=low, high=high, threshold=judge.threshold)
    short = sum(one.is_bound for one in ratios)
    if not short or found.verdict is Verdict.NOT_RUN:
        return found
    reason = f"{names[1]} does not reach the score within its run for {short} of {len(ratios)} seeds"
    if max(one.ratio for one in ratios) < judge.threshold:  # even had it come at once after the end
        return replace(found, verdict=Verdict.CONTRADICTED, reason=f"{reason}; the ratio is less than that shown")
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=f"{reason}; the ratio is less than that shown")


def _presence(comparison: Presence, rows: pd.DataFrame, here: Finding, judge: Judge) -> Finding | None:
    names = " and ".join(map(method_label, comparison.methods))
    rows = rows[rows["method"].isin(comparison.methods)]
    if set(rows["method"]) != set(comparison.methods):
        return None
    values = rows.groupby("seed")["value"].min()  # of the methods: the least
    here = replace(here, unit=str(rows["unit"].iloc[0]), subject=f"runs of {names}")
    if comparison.floor is not None:
        return replace(judge, threshold=comparison.floor)(list(values), here)
    seeds = rows.groupby("method")["seed"].nunique().min()
    found = replace(here, n=int(seeds), unit="")
    if seeds < judge.seeds:
        return replace(found, reason=too_few(int(seeds), judge.seeds))
    tests = ", ".join(comparison.checked_by)
    return replace(found, verdict=Verdict.SUPPORTED, reason=f"runs ended{f'; the construction: {tests}' * bool(tests)}")


def _absent(comparison: Comparison, rows: pd.DataFrame, modality: str) -> str:
    """What would have to be run."""
    where = modality_label(modality).lower()
    what = "main runs" if comparison.experiment == "main" else f"experiment {comparison.experiment}"
    match comparison:
        case Over():
            sides = [side for side in (comparison.a, comparison.b)]
        case Best():
            sides = [comparison.value]
        case TimeRatio():
            sides = [comparison.method, comparison.rival]
        case Presence():
            sides = list(comparison.methods)
        case _:
            sides = []
    if rows.empty:
        return f"no {what} of {where}"
    column = "method" if comparison.experiment == "main" else "variant"
    absent = [method_label(side) for side in sides if side not in set(rows[column])]
    if absent:
        return f"{what} of {where}: without {' and '.join(absent)}"
    if isinstance(comparison, TimeRatio):
        return f"{what} of {where}: no encoders of both were kept along the way (train.snapshots)"
    return f"{what} of {where}: no score in common"


def combine(findings: list[Finding]) -> Verdict:
    """All parts must hold: one that is contradicted decides, one that is missing leaves it open."""
    verdicts = {found.verdict for found in findings}
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED
    return verdicts.pop() if len(verdicts) == 1 else Verdict.INCONCLUSIVE
