"""The claims ledger (`config/claims.yaml`), read and checked: what is claimed, and which comparison would test it.

Every threshold is in the file. A comparison is written once under a name and may test several claims.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from data2vec.errors import UserError
from data2vec.reporting.files import short_path
from data2vec.scales import label

Modality = Literal["vision", "speech", "text"]
Reading = Literal["correct", "caveat", "misleading", "wrong", "open"]
# A method, or a varied value as results.csv spells it: YAML reads 1 and true as something else.
Value = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else label(value))]
DOCUMENTATION = "E-DOC"


class Entry(BaseModel):
    """A part of the ledger; keys that it does not name are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedRow(Entry):
    """Where a number stands in `config/published/*.csv`: what is given must match one row alone."""

    table: str
    file: str = ""
    modality: str = ""
    method: str = ""
    model_size: str = ""
    metric: str = ""
    length: str = Field("", description="beginning of pretrain_epochs_or_updates")
    setting: str = Field("", description="beginning of setting")


class PublishedEffect(Entry):
    """A published number (`row`), or how much better `a` is than `b`: as a difference, or as a ratio (of times)."""

    modality: Modality | None = Field(None, description="the modality that it stands beside; null = every")
    row: PublishedRow | None = None
    a: PublishedRow | None = None
    b: PublishedRow | None = None
    form: Literal["difference", "ratio"] = Field("difference", alias="as")

    @model_validator(mode="after")
    def _one_or_two(self) -> "PublishedEffect":
        if (self.row is None) == (self.a is None or self.b is None) or (self.a is None) != (self.b is None):
            raise ValueError("give either row, or a and b")
        return self


class Comparison(Entry):
    """What all comparisons have. Gains are signed so that more is what the claim says."""

    experiment: str = Field("main", description="file in config/experiments, or main")
    modalities: tuple[Modality, ...] = Field(min_length=1)
    metric: dict[Modality, tuple[str, ...]] = Field({}, description="the first that was measured; {} = the ledger's")
    effect: float = Field(0.0, description="smallest gain that counts, in the metric's unit")
    seeds: int | None = Field(None, ge=2, description="fewest seeds for a verdict; null = the ledger's")
    published: tuple[PublishedEffect, ...] = ()
    docs: str = ""


class Over(Comparison):
    """`a` is better than `b` by more than `effect`; with `equal`, they differ by less than it."""

    kind: Literal["over"]
    a: Value
    b: Value
    method: str = Field("", description="in an experiment with several methods: whose runs")
    equal: bool = False


class Best(Comparison):
    """`best_over`: the best other value is better than `value`. `best_at`: `value` is better than the best other."""

    kind: Literal["best_over", "best_at"]
    value: Value
    method: str = ""


class Trend(Comparison):
    """The score, or the gain over `against` at the same value, grows (or falls) along the axis."""

    kind: Literal["trend"]
    direction: Literal["grows", "falls"]
    method: str = ""
    against: str = Field("", description="method whose score at the same value is subtracted; empty = none")


class TimeRatio(Comparison):
    """The rival's time to its best score over the time of `method` to that score is more than `effect`.

    In an experiment, `method` and `rival` are two of its values.
    """

    kind: Literal["time_ratio"]
    effect: float = Field(1.0, gt=0, description="smallest ratio that counts")
    method: Value
    rival: Value


class Presence(Comparison):
    """Runs of every method ended with a finite score, of at least `floor` if that is given."""

    kind: Literal["presence"]
    methods: tuple[str, ...] = Field(min_length=1)
    floor: float | None = None
    checked_by: tuple[str, ...] = Field((), description="tests that hold the construction itself")


AnyComparison = Annotated[Over | Best | Trend | TimeRatio | Presence, Field(discriminator="kind")]


class Claim(Entry):
    """One claim of one document."""

    id: str = Field(pattern=r"^S\d+-\d+$")
    claim: str = Field(min_length=1)
    experiments: tuple[str, ...] = Field(min_length=1, description="codes of the experiments that would test it")
    verdict_of_papers: Reading
    note: str = ""
    tests: tuple[str, ...] = Field((), description="names of comparisons; all must hold")
    published: tuple[PublishedEffect, ...] = ()
    docs: str = ""

    @property
    def document(self) -> str:
        """The document's key: "S0" of "S0-1"."""
        return self.id.partition("-")[0]

    @model_validator(mode="after")
    def _is_tested_or_documented(self) -> "Claim":
        if not self.tests and not self.docs:
            raise ValueError("neither tests nor docs")
        if self.tests and DOCUMENTATION in self.experiments:
            raise ValueError(f"{DOCUMENTATION} has no tests")
        return self


class Document(Entry):
    """One of the documents that make the claims."""

    title: str
    subject: str


class Ledger(Entry):
    """The whole file."""

    seeds: int = Field(3, ge=2)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    metrics: dict[Modality, tuple[str, ...]]
    documents: dict[str, Document]
    comparisons: dict[str, AnyComparison]
    claims: tuple[Claim, ...]


def load_ledger(path: Path) -> Ledger:
    """The checked ledger. Raises UserError that names the claim or comparison at fault."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{short_path(path)}: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{short_path(path)}: not a mapping but {content!r:.40}")
    try:
        ledger = Ledger.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{short_path(path)}: {_first_error(error, content)}") from None
    for problem in _problems(ledger):
        raise UserError(f"{short_path(path)}: {problem}")
    return ledger


def _first_error(error: ValidationError, content: dict[str, Any]) -> str:
    """`claim S0-1, seeds: ...` instead of a position in a list."""
    first = error.errors()[0]
    place = list(first["loc"])
    if len(place) > 1 and place[0] == "claims" and isinstance(place[1], int):
        entry = content["claims"][place[1]]
        name = entry.get("id", place[1]) if isinstance(entry, dict) else place[1]
        place = [f"claim {name}", *place[2:]]
    elif len(place) > 1 and place[0] == "comparisons":
        place = [f"comparison {place[1]}", *place[3:]]  # the third is the kind
    return f"{', '.join(map(str, place))}: {first['msg'].removeprefix('Value error, ')} ({first['input']!r:.60})"


def _problems(ledger: Ledger) -> list[str]:
    """What one entry alone does not show."""
    ids = [claim.id for claim in ledger.claims]
    doubled = [f"claim {one}: the id is used twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    strangers = [
        f"claim {claim.id}: {what}"
        for claim in ledger.claims
        for what in (
            *(f"no document {claim.document}" for _ in [0] if claim.document not in ledger.documents),
            *(f"no comparison '{test}'" for test in claim.tests if test not in ledger.comparisons),
        )
    ]
    used = {test for claim in ledger.claims for test in claim.tests}
    idle = [f"comparison {name}: no claim uses it" for name in ledger.comparisons if name not in used]
    return [*doubled, *strangers, *idle]
