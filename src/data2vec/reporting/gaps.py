"""What should be in the report and is not: found by comparing results.csv with what it implies.

A method that has a score for one seed should have it for every seed; a score should have its controls;
an experiment should have each of its values; a number of ours should have a published one beside it.
"""

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.experiments import Experiment
from data2vec.reporting.files import Issue
from data2vec.reporting.ladders import absent_controls
from data2vec.reporting.names import is_control, is_score, method_label, metric_label
from data2vec.reporting.published import match
from data2vec.reporting.published_curves import published_curve
from data2vec.reporting.rules import RULES


def find_gaps(frame: pd.DataFrame, published: pd.DataFrame, experiments: dict[str, Experiment]) -> list[Issue]:
    """Every gap, as issues to be listed on the page."""
    return [
        *_absent_scores(frame),
        *_absent_stages(frame),
        *_absent_controls(frame),
        *_absent_points(frame, experiments),
        *_unpublished(frame, published),
        *_absent_curves(frame, published, experiments),
    ]


def _absent_scores(frame: pd.DataFrame) -> list[Issue]:
    """Scores that some main run of a group has and another lacks."""
    main = frame[frame["experiment"] == "main"]
    issues = []
    for _, group in main.groupby(["scale", "modality"], sort=True):
        trained = group[~group["method"].map(is_control).astype(bool)]
        seeds = sorted(set(trained["seed"].astype(int)))
        scored = trained[trained["metric"].map(is_score).astype(bool)]
        scores = sorted(set(zip(scored["metric"], scored["dataset"], strict=True)))
        good = scored.dropna(subset="value")
        there = set(zip(good["method"], good["metric"], good["dataset"], good["seed"].astype(int), strict=True))
        for method in sorted(set(trained["method"])):
            for metric, dataset in scores:
                lacking = [seed for seed in seeds if (method, metric, dataset, seed) not in there]
                if lacking:
                    what = f"{method_label(method)}: no {metric_label(metric)} for {_seeds(lacking)} ({dataset})"
                    issues.append(Issue("missing", what))
    return issues


def _absent_stages(frame: pd.DataFrame) -> list[Issue]:
    """Scores that the papers report and no main run here has."""
    main = frame[frame["experiment"] == "main"]
    trained = main[~main["method"].map(is_control).astype(bool)]
    there = set(zip(trained["modality"], trained["metric"], strict=True))
    rules = [rule for rule in RULES if rule.is_expected and rule.modality in set(trained["modality"])]
    return [
        Issue("not run", f"no {metric_label(metric)} score of any method ({modality})")
        for modality, metric in sorted({(rule.modality, rule.metric) for rule in rules} - there)
    ]


def _absent_controls(frame: pd.DataFrame) -> list[Issue]:
    many = frame["scale"].nunique() > 1
    return [
        Issue(
            "missing",
            f"no control “{control}” for {metric_label(metric)} on {dataset}" + (f" ({scale} scale)" if many else ""),
        )
        for scale, _, dataset, metric, control in absent_controls(frame)
    ]


def _absent_points(frame: pd.DataFrame, experiments: dict[str, Experiment]) -> list[Issue]:
    issues = []
    for name, experiment in experiments.items():
        rows = frame[frame["experiment"] == name]
        points = [point for scale in sorted(set(frame["scale"])) for point in experiment.points(scale)]
        if not points:  # an experiment without values at this scale is not meant for it
            continue
        if rows.empty:
            if set(experiment.modalities) & set(frame["modality"]):
                issues.append(Issue("not run", f"experiment {name}: {experiment.title}"))
            continue
        about = rows["method"].nunique() > 1 or rows["modality"].nunique() > 1
        for (modality, method), part in rows.groupby(["modality", "method"], sort=True):
            where = f", {method_label(method)} ({modality})" if about else ""
            issues += _lacking(experiment, points, part, where)
    return issues


def _lacking(experiment: Experiment, points: list[str], rows: pd.DataFrame, where: str) -> list[Issue]:
    """The values of one experiment, modality and method that lack a score for a seed."""
    good = rows[(rows["metric"] == experiment.metric) & rows["value"].notna()]
    seeds = sorted(set(rows["seed"].astype(int)))
    issues = []
    for value in dict.fromkeys(points):
        there = set(good.loc[good["variant"] == value, "seed"].astype(int))
        lacking = [seed for seed in seeds if seed not in there]
        if lacking:
            score = metric_label(experiment.metric)
            what = f"experiment {experiment.name}, {experiment.axis} = {value}{where}: no {score} for {_seeds(lacking)}"
            issues.append(Issue("missing", what))
    return issues


def _unpublished(frame: pd.DataFrame, published: pd.DataFrame) -> list[Issue]:
    issues = []
    for row in stats.main_scores(frame).to_dict("records"):
        expected = any(
            (rule.modality, rule.metric, rule.method) == (row["modality"], row["metric"], row["method"])
            and rule.dataset in ("", row["dataset"])
            for rule in RULES
        )
        if match(published, row) is None and (expected or not is_control(row["method"])):
            why = "its row is not in the published tables" if expected else "the papers do not report it"
            what = f"{method_label(row['method'])}, {metric_label(row['metric'])}: {why} ({row['dataset']})"
            issues.append(Issue("no published number", what))
    return issues


def _absent_curves(frame: pd.DataFrame, published: pd.DataFrame, experiments: dict[str, Experiment]) -> list[Issue]:
    run = set(frame["experiment"])
    return [
        Issue(
            "no published number",
            f"experiment {name}: no table “{experiment.published}”",
        )
        for name, experiment in experiments.items()
        if name in run and experiment.published and published_curve(experiment.published, "", published) is None
    ]


def _seeds(seeds: list[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else "seeds " + ", ".join(map(str, seeds))
