"""The claims of the ledger with their verdicts: rows, tables, `claims.md`, and what the page shows.

All numbers of ours come from results.csv; the published ones from `config/published/`.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data2vec.reporting.files import Issue, write_text
from data2vec.reporting.formats import Table, to_markdown
from data2vec.reporting.ledger import Claim, Ledger
from data2vec.reporting.names import count, fmt, metric_label, modality_label
from data2vec.reporting.published_effects import Published, published_effects
from data2vec.reporting.verdicts import Finding, Verdict, combine, find

COLUMNS = (
    *("id", "claim", "experiments", "papers say", "verdict", "our effect", "published effect", "why", "note", "where"),
)
TESTS = (
    *("test", "experiment", "modality", "data set", "metric", "compared", "smallest that counts"),
    *("effect", "low", "high", "n", "verdict", "why", "published effect", "source"),
)
NUMERIC = frozenset({"smallest that counts", "effect", "low", "high", "n"})


@dataclass(frozen=True)
class Place:
    """Where a reader finds the numbers: an anchor of the page, a table and a figure."""

    anchor: str
    title: str
    table: str
    figure: str


@dataclass(frozen=True)
class Row:
    """One claim with everything that is known of it."""

    claim: Claim
    verdict: Verdict
    findings: list[Finding]
    published: list[Published]
    places: list[Place]
    docs: list[str]

    @property
    def effects(self) -> list[str]:
        """Our effects, one a finding that has one."""
        return [effect_text(found) for found in self.findings if found.n]

    @property
    def is_by_construction(self) -> bool:
        """Whether nothing was measured against anything: the method runs, and tests of the code hold the claim."""
        return bool(self.findings) and all(math.isnan(found.threshold) for found in self.findings)

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is what it is; each reason once."""
        if self.verdict is Verdict.SUPPORTED:
            return ["by construction, not by a score"] * self.is_by_construction
        open_ones = [found for found in self.findings if found.verdict is not Verdict.SUPPORTED]
        return list(dict.fromkeys(_reason(found) for found in open_ones))

    @property
    def kind(self) -> str:
        """One word for the style of the verdict."""
        return self.verdict.partition(" at ")[0].replace(" ", "-")


@dataclass(frozen=True)
class Group:
    """The claims of one document."""

    key: str
    title: str
    subject: str
    rows: list[Row]

    @property
    def counts(self) -> str:
        """How many claims have which verdict, in words."""
        return ", ".join(f"{n} {word}" for word, n in counts(self.rows) if n)


@dataclass(frozen=True)
class Claims:
    """The ledger at one scale."""

    scale: str
    groups: list[Group]
    findings: dict[str, list[Finding]]
    published: dict[str, list[Published]]

    @property
    def rows(self) -> list[Row]:
        """All claims."""
        return [row for group in self.groups for row in group.rows]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """(verdict, number of claims), every verdict."""
        return counts(self.rows)


def counts(rows: list[Row]) -> list[tuple[str, int]]:
    """(verdict, how many) in a fixed order."""
    found = Counter(row.verdict for row in rows)
    return [(str(verdict), found[verdict]) for verdict in Verdict]


def judge_claims(
    ledger: Ledger, frame: pd.DataFrame, numbers: pd.DataFrame, places: dict[str, Place], issues: list[Issue]
) -> list[Claims]:
    """Every claim with its verdict, at each scale of `frame` (results.csv); an absent published row is an issue.

    `places` has where an experiment is shown, by its name, and main runs, by `main-<modality>`, and
    what they cost by `efficiency-<modality>`.
    """
    published = {
        name: published_effects(f"test {name} of the claims", one.published, numbers, issues)
        for name, one in ledger.comparisons.items()
    }
    own = {
        claim.id: published_effects(f"claim {claim.id}", claim.published, numbers, issues) for claim in ledger.claims
    }
    result = []
    for scale, rows in frame.groupby("scale", sort=True):
        findings = {name: find(name, one, ledger, rows) for name, one in ledger.comparisons.items()}
        groups = []
        for key, document in ledger.documents.items():
            chosen = [claim for claim in ledger.claims if claim.document == key]
            judged = [_row(claim, ledger, findings, published, own[claim.id], places) for claim in chosen]
            groups.append(Group(key, document.title, document.subject, judged))
        result.append(Claims(str(scale), groups, findings, published))
    return result


def _row(
    claim: Claim,
    ledger: Ledger,
    findings: dict[str, list[Finding]],
    published: dict[str, list[Published]],
    own: list[Published],
    places: dict[str, Place],
) -> Row:
    found = [finding for test in claim.tests for finding in findings[test]]
    beside = [effect for test in claim.tests for effect in published[test]]
    keys = [_shown_in(one) for one in found if one.n]
    docs = [claim.docs, *(ledger.comparisons[test].docs for test in claim.tests)]
    return Row(
        claim=claim,
        verdict=combine(found) if found else Verdict.DOCUMENTED,
        findings=found,
        published=list(dict.fromkeys([*beside, *own])),
        places=[places[key] for key in dict.fromkeys(keys) if key in places],
        docs=list(dict.fromkeys(filter(None, docs))),
    )


def _shown_in(found: Finding) -> str:
    if found.experiment != "main":
        return found.experiment
    return f"{'efficiency' if found.unit == 'times' else 'main'}-{found.modality}"


def effect_text(found: Finding) -> str:
    """An effect with its interval and n: "Images, digits: 2 over 1 +1.2 points (0.4 to 2.0), n = 3"."""
    if math.isnan(found.threshold):  # presence: nothing was measured against anything
        return f"{_where(found)}: {found.subject}: {found.reason}, n = {found.n}"
    is_gain = found.unit == "points"
    numbers = fmt(found.effect, found.unit, signed=is_gain) + (f" {found.unit}" if found.unit else "")
    if not math.isnan(found.low):
        numbers += f" ({fmt(found.low, found.unit, is_gain)} to {fmt(found.high, found.unit, is_gain)})"
    what = f"{_where(found)}: {found.subject}, {metric_label(found.metric)}"
    return f"{what}: {numbers}, n = {found.n}"


def _where(found: Finding) -> str:
    return ", ".join(filter(None, (modality_label(found.modality), found.dataset)))


def _reason(found: Finding) -> str:
    subject = f": {found.subject}" if found.subject else ""
    return f"{_where(found)}{subject}: {found.reason}" if found.n else found.reason


def tables(parts: list[Claims]) -> list[Table]:
    """`claims`, a claim a row, and `claims_tests`, a comparison, modality and data set a row."""
    several = len(parts) > 1
    first = ("scale",) if several else ()
    rows = [(*([part.scale] if several else []), *_cells(row)) for part in parts for row in part.rows]
    tests = [
        (*([part.scale] if several else []), *_test_cells(found, part.published[name]))
        for part in parts
        for name, findings in part.findings.items()
        for found in findings
    ]
    note = (
        "our effect: mean over seeds with its interval, signed so that more is what the claim says; a claim holds "
        "if all its tests do. papers say: our reading of the claim against the papers."
    )
    tests_note = (
        "effect: paired over seeds, in the unit of the metric; low, high: its interval, wider where the best of "
        "several values was taken. A ratio of times is compared on logarithms."
    )
    return [
        Table("claims", "Claims and verdicts", (*first, *COLUMNS), rows, note, status_column="verdict"),
        Table("claims_tests", "Tests of the claims", (*first, *TESTS), tests, tests_note, NUMERIC, "verdict"),
    ]


def _cells(row: Row) -> tuple[str, ...]:
    claim = row.claim
    where = [f"index.html#{place.anchor}" for place in row.places] + row.docs
    return (
        *(claim.id, claim.claim, ", ".join(claim.experiments), claim.verdict_of_papers, str(row.verdict)),
        *("; ".join(row.effects), "; ".join(map(str, row.published)), "; ".join(row.reasons), claim.note),
        "; ".join(where),
    )


def _test_cells(found: Finding, published: list[Published]) -> tuple[str, ...]:
    beside = [one for one in published if one.modality in (None, found.modality)]
    sources = dict.fromkeys(one.source for one in beside if one.source)
    numbers = [fmt(value, found.unit) for value in (found.threshold, found.effect, found.low, found.high)]
    return (
        *(found.comparison, found.experiment, modality_label(found.modality), found.dataset),
        *(metric_label(found.metric) if found.metric else "", found.subject, *numbers, str(found.n or "")),
        *(str(found.verdict), found.reason, "; ".join(one.words for one in beside), "; ".join(sources)),
    )


def write_markdown(parts: list[Claims], target: Path) -> None:
    """`claims.md`: the counts, then a table a document with links to page, tables and figures."""
    lines = ["# Claims and verdicts", "", "How a verdict is reached: [docs/claims.md](../docs/claims.md).", ""]
    for part in parts:
        number_of = [f"{n} {word}" for word, n in part.counts]
        lines += [
            f"## {part.scale.capitalize()} scale",
            "",
            f"{count(len(part.rows), 'claim')}: {', '.join(number_of)}.",
        ]
        for group in part.groups:
            columns = ("id", "claim", "papers say", "verdict", "our effect", "published", "why", "where")
            title = f"{group.key}: {group.title} ({group.subject}): {group.counts}"
            lines += ["", to_markdown(Table("", title, columns, [_linked(row) for row in group.rows])).strip()]
        lines.append("")
    write_text(target, "\n".join(lines))


def _linked(row: Row) -> tuple[str, ...]:
    claim = row.claim
    links = [
        f"{place.title} ([page](index.html#{place.anchor}), [table](tables/{place.table}.md), "
        f"[figure](figures/{place.figure}.svg))"
        for place in row.places
    ]
    links += [f"[{path.partition('#')[0]}](../{path})" for path in row.docs]
    papers = f"**{claim.verdict_of_papers}.** {claim.note}".strip()
    texts = ["<br>".join(cell) for cell in (row.effects, map(str, row.published), row.reasons, links)]
    return (claim.id, claim.claim, papers, f"**{row.verdict}**", *texts)
