"""The GLUE average and the table of its tasks (1.0: section 5.3, table 4; 2.0: the table of GLUE results).

Average: the mean over eight tasks of the score that is published for each; MNLI's is the mean of its two sets.
"""

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import number
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, method_label, method_rank
from data2vec.reporting.rules import GLUE, GLUE_AVERAGE, GLUE_SETTING, TEXT

PUBLISHED = ("BERT", *reversed(TEXT.values()))


def with_average(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame and, for each run that has every task, a row with their average."""
    text = frame[(frame["modality"] == "text") & (frame["experiment"] == "main")]
    keys = pd.Series(list(zip(text["dataset"], text["metric"], strict=True)), index=text.index, dtype=object)
    rows = []
    for _, part in text[keys.isin(list(GLUE))].dropna(subset="value").groupby(["scale", "method", "model", "seed"]):
        scores = {(row.dataset, row.metric): row.value for row in part.itertuples()}
        if set(scores) == set(GLUE):
            mnli = [scores.pop(key) for key in GLUE if key[0] == "mnli"]
            average = (sum(scores.values()) + sum(mnli) / len(mnli)) / (len(scores) + 1)
            dataset, metric = GLUE_AVERAGE
            rows.append(part.iloc[0].to_dict() | {"dataset": dataset, "metric": metric, "value": average})
    return pd.concat([frame, pd.DataFrame(rows, columns=frame.columns)], ignore_index=True) if rows else frame


def table(frame: pd.DataFrame, published: pd.DataFrame) -> Table | None:
    """One column a task: the published rows, then ours, mean and standard deviation; None without a task of GLUE."""
    scores = stats.main_scores(frame)
    scores = scores[scores["n"] > 0]
    wanted = [*GLUE, GLUE_AVERAGE]
    tasks = scores[is_task(scores)]
    if tasks.empty:
        return None
    rows = [row for name in PUBLISHED if any((row := _published_row(name, published))[3:])]
    chosen = scores[scores["method"].isin(set(tasks["method"]))]
    groups = sorted(chosen.groupby(["scale", "method", "model"]), key=lambda item: method_rank(item[0][1]))
    many = scores["scale"].nunique() > 1
    for (scale, method, model), part in groups:
        there = {(row.dataset, row.metric): row for row in part.itertuples()}
        found = [there.get(key) for key in wanted]
        counts = sorted({row.n for key, row in there.items() if key in GLUE})
        words = f"{model}, {scale} scale" if many else model
        n = f"{counts[0]}\u2013{counts[-1]}" if len(set(counts)) > 1 else str(counts[0] if counts else "")
        rows.append((f"{method_label(method)}, ours", words, n, *(_cell(row) for row in found)))
    columns = ("method", "model", "n", *GLUE.values(), "average")
    note = (
        "Development sets. Accuracy in %; MRPC and QQP: mean of accuracy and F1; STS-B: mean of Pearson's and "
        "Spearman's correlation; CoLA: Matthews correlation, all times 100. average: over eight tasks, where MNLI is "
        "the mean of its two sets; only of runs that have every task. Ours: mean ± standard deviation over n seeds. "
        "Published rows: mean of five fine-tunings, BERT as its authors print it."
    )
    return Table("glue", "GLUE, task by task", columns, rows, note, frozenset(columns[2:]))


def is_task(scores: pd.DataFrame) -> pd.Series:
    """Which of the scores are those that GLUE's average is made of."""
    keys = zip(scores["dataset"], scores["metric"], strict=True)
    return pd.Series([key in GLUE for key in keys], index=scores.index, dtype=bool)


def _cell(row: object) -> str:
    if row is None:
        return ""
    spread = fmt(row.std, "%")  # type: ignore[attr-defined]
    return fmt(row.mean, "%") + (f" ± {spread}" if spread else "")  # type: ignore[attr-defined]


def _published_row(name: str, published: pd.DataFrame) -> tuple[str, ...]:
    rows = published[
        (published["table"] == "d2v_glue_dev")
        & (published["method"] == name)
        & published["setting"].str.startswith(GLUE_SETTING)
        & ~published["setting"].str.contains("inconsistent")
    ]
    values = {row.metric: number(row.value) for row in rows.itertuples()}
    size = str(rows["model_size"].iloc[0]) if len(rows) else ""
    return (name, size, "", *(fmt(values.get(task, float("nan")), "%") for task in [*GLUE.values(), "GLUE_avg"]))
