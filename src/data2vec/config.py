"""The configuration of one run: the typed schema behind `config/run/` and the command line.

Hydra composes the groups and overrides; this schema checks the result, names unknown keys with their nearest
match and says what is allowed. Updates are scaled by `budget` once, when a run is configured; the resolved
configuration is written into the run's folder and handed on by path.
"""

import difflib
import itertools
import math
import operator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from data2vec.errors import UserError
from data2vec.sections import (
    ContrastConfig,
    Count,
    DataConfig,
    DecoderConfig,
    FinetuneConfig,
    HubertConfig,
    LossConfig,
    MaskConfig,
    ModelConfig,
    OptimConfig,
    PixelsConfig,
    ProbeConfig,
    QuantiserConfig,
    Section,
    SpeechConfig,
    TargetConfig,
    TaskConfig,
    TeacherConfig,
    TextConfig,
    TrainConfig,
    ViewsConfig,
    VisionConfig,
)


class RunConfig(Section):
    """Everything that defines one run."""

    modality: Literal["vision", "speech", "text"] = Field("vision", description="kind of input")
    method: Literal[
        "data2vec",
        "data2vec2",
        "mae",
        "simmim",
        "maskfeat",
        "byol",
        "dino",
        "wav2vec2",
        "hubert",
        "masked_lm",
    ] = Field("data2vec2", description="learning method")
    seed: Count = Field(1, description="of every random draw")
    budget: float = Field(1.0, gt=0, description="multiplies every number of updates")
    scale: str = Field("custom", description="label: embedded, mini, paper")
    experiment: str = Field("main", description="label of the experiment that the run belongs to")
    variant: Annotated[str, BeforeValidator(str)] = Field("", description="label of the point within the experiment")
    data_dir: str = Field("results/data", description="folder of prepared data")
    data: DataConfig = DataConfig()
    vision: VisionConfig = VisionConfig()
    speech: SpeechConfig = SpeechConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    mask: MaskConfig = MaskConfig()
    target: TargetConfig = TargetConfig()
    teacher: TeacherConfig = TeacherConfig()
    decoder: DecoderConfig = DecoderConfig()
    loss: LossConfig = LossConfig()
    pixels: PixelsConfig = PixelsConfig()
    views: ViewsConfig = ViewsConfig()
    contrast: ContrastConfig = ContrastConfig()
    quantiser: QuantiserConfig = QuantiserConfig()
    hubert: HubertConfig = HubertConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    probe: ProbeConfig = ProbeConfig()
    task: TaskConfig = TaskConfig()
    finetune: FinetuneConfig = FinetuneConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        checks: list[tuple[bool, str, Any, str]] = [
            *self._batch_checks(),
            (
                self.method not in ("wav2vec2", "hubert") or self.modality == "speech",
                "method",
                self.method,
                f"data2vec or data2vec2 on {self.modality}",
            ),
            (
                self.model.dim % self.model.heads == 0,
                "model.dim",
                self.model.dim,
                f"a multiple of model.heads = {self.model.heads}",
            ),
            (
                self.vision.image_size % self.vision.patch_size == 0,
                "vision.image_size",
                self.vision.image_size,
                f"a multiple of vision.patch_size = {self.vision.patch_size}",
            ),
            (
                not self.data.also or self.modality == "speech",
                "data.also",
                self.data.also,
                f"empty for modality={self.modality}: only recordings are joined",
            ),
            (
                len({self.data.name, *self.data.also}) == 1 + len(self.data.also),
                "data.also",
                self.data.also,
                f"names of further data sets, each once and not data.name = {self.data.name}",
            ),
            (
                not self.method.startswith("data2vec")
                or self.target.layers is not None
                or self.target.top_k <= self.model.depth,
                "target.top_k",
                self.target.top_k,
                f"1 to model.depth = {self.model.depth}",
            ),
            (
                all(i < self.model.depth for i in self.target.layers or []),
                "target.layers",
                self.target.layers,
                f"block numbers from 0 to {self.model.depth - 1}",
            ),
            (
                self.model.absolute_positions != "sincos" or self.modality != "vision" or self.model.dim % 4 == 0,
                "model.dim",
                self.model.dim,
                "a multiple of 4 for sine-cosine positions",
            ),
            (
                self.method != "data2vec2" or self.decoder.dim % self.decoder.groups == 0,
                "decoder.dim",
                self.decoder.dim,
                f"a multiple of decoder.groups = {self.decoder.groups}",
            ),
        ]
        checks += self._ablation_checks()
        named = (self._speech_checks(), self._text_checks(), self._rival_checks())
        for holds, key, value, allowed in (*checks, *itertools.chain(*named)):
            if not holds:
                raise ValueError(f"{key} = {value} is not allowed: it must be {allowed}")
        return self

    def _batch_checks(self) -> list[tuple[bool, str, Any, str]]:
        """How an update's samples are counted and divided; `train.views` decides how many there are."""
        t, clones = self.train, self.mask.clones
        if t.views is not None:
            t.batch_size = max(1, t.views // clones)
        return [
            (t.views is None or t.views % clones == 0, "mask.clones", clones, f"a divisor of train.views = {t.views}"),
            (
                t.micro_batch is None or t.batch_size <= t.micro_batch or t.batch_size % t.micro_batch == 0,
                "train.micro_batch",
                t.micro_batch,
                f"a divisor of train.batch_size = {t.batch_size}",
            ),
        ]

    def _ablation_checks(self) -> list[tuple[bool, str, Any, str]]:
        """What 2.0's ablations of encoder and decoder need: (whether it holds, key, value, what is allowed)."""
        second, kind, dim = self.method == "data2vec2", self.decoder.kind, self.decoder.dim
        step = math.lcm(4, self.decoder.heads)
        return [
            (
                self.mask.visible_only or (second and self.modality != "text"),
                "mask.visible_only",
                False,
                "true but for data2vec2 on images and speech",
            ),
            (kind == "conv" or second, "decoder.kind", kind, f"conv for {self.method}"),
            (kind != "none" or not self.mask.visible_only, "decoder.kind", kind, "conv with mask.visible_only=true"),
            (kind != "transformer" or self.modality == "vision", "decoder.kind", kind, "conv or none but on images"),
            (
                kind != "transformer" or dim % step == 0,
                "decoder.dim",
                dim,
                f"a multiple of 4 and of decoder.heads = {self.decoder.heads}",
            ),
        ]

    def _speech_checks(self) -> list[tuple[bool, str, Any, str]]:
        """What must hold on speech: (whether it does, key, value, what is allowed)."""
        if self.modality != "speech":
            return []
        s, mask, dim = self.speech, self.mask, self.model.dim
        micro, groups = s.micro_seconds or s.batch_seconds, s.pos_conv_groups
        ft = self.finetune
        ft_micro = ft.micro_seconds or ft.batch_seconds
        drops = ft.head == "conv" and ft.layer_drop > 0
        ft_whole = round(ft.batch_seconds / ft_micro, 6).is_integer()
        ft_parts = f"a whole part of finetune.batch_seconds = {ft.batch_seconds}"
        fits = s.min_seconds <= s.max_seconds <= micro
        most = f"between speech.min_seconds = {s.min_seconds} and the seconds of one forward pass = {micro}"
        whole = round(s.batch_seconds / micro, 6).is_integer()
        equal = self.method != "data2vec2" or mask.sampler == "block_1d" or mask.counts == "equalised"
        return [
            (dim % groups == 0, "model.dim", dim, f"a multiple of speech.pos_conv_groups = {groups}"),
            (mask.sampler in ("span", "block_1d"), "mask.sampler", mask.sampler, "span or block_1d on speech"),
            (equal, "mask.counts", mask.counts, "equalised for spans with data2vec2"),
            (not drops, "finetune.layer_drop", ft.layer_drop, "0 with finetune.head=conv, which reads every block"),
            (ft_whole, "finetune.micro_seconds", ft_micro, ft_parts),
            (whole, "speech.micro_seconds", micro, f"a whole part of speech.batch_seconds = {s.batch_seconds}"),
            (fits, "speech.max_seconds", s.max_seconds, most),
            (self.model.alibi in ("none", "1d"), "model.alibi", self.model.alibi, "none or 1d on speech"),
            (
                self.method != "wav2vec2" or self.quantiser.dim % self.quantiser.groups == 0,
                "quantiser.dim",
                self.quantiser.dim,
                f"a multiple of quantiser.groups = {self.quantiser.groups}",
            ),
        ]

    def _text_checks(self) -> list[tuple[bool, str, Any, str]]:
        """What must hold on text: (whether it does, key, value, what is allowed)."""
        if self.modality != "text":
            return []
        text, mask, first = self.text, self.mask, self.method == "data2vec"
        sampler = "random" if self.method == "data2vec2" else "tokens"
        rules = [
            (self.data.vocab_size >= 6, "data.vocab_size", "at least 6: four special tokens, a word and <mask>"),
            (
                2 <= text.tokens_per_sample <= text.max_positions,
                "text.tokens_per_sample",
                f"2 to text.max_positions = {text.max_positions}",
            ),
            (mask.sampler == sampler, "mask.sampler", f"{sampler} for {self.method} on text"),
            (mask.keep + mask.randomise < 1, "mask.keep", f"below 1 - mask.randomise = {1 - mask.randomise:g}"),
            (
                not first or self.teacher.scope == "encoder",
                "teacher.scope",
                "encoder for data2vec on text, whose teacher reads tokens of its own",
            ),
            (self.model.alibi in ("none", "1d"), "model.alibi", "none or 1d on text"),
        ]
        return [(holds, key, operator.attrgetter(key)(self), allowed) for holds, key, allowed in rules]

    def _rival_checks(self) -> list[tuple[bool, str, Any, str]]:
        """What must hold for a rival on images or text: (whether it does, key, value, what is allowed)."""
        modality = MODALITY_OF.get(self.method, self.modality)
        checks: list[tuple[bool, str, Any, str]] = [
            (self.modality == modality, "modality", self.modality, f"{modality} for {self.method}")
        ]
        v, d, patch = self.views, self.decoder, self.vision.patch_size
        if self.method == "mae":
            step = math.lcm(4, d.heads)
            allowed = f"a multiple of 4 and of decoder.heads = {d.heads}"
            checks.append((d.dim % step == 0, "decoder.dim", d.dim, allowed))
            checks.append((self.mask.sampler != "beit_block", "mask.sampler", "beit_block", "one of equal counts"))
        if self.method == "maskfeat":
            cells, allowed = self.pixels.hog_cells, f"a divisor of vision.patch_size = {patch}"
            checks.append((patch % cells == 0, "pixels.hog_cells", cells, allowed))
        if self.method in ("byol", "dino"):
            has_token = v.pooling == "mean" or self.model.extra_tokens > 0
            checks.append((has_token, "views.pooling", v.pooling, "mean for a model without model.extra_tokens"))
            checks.append((self.teacher.scope == "encoder", "teacher.scope", self.teacher.scope, "encoder"))
        if self.method == "dino" and v.local:
            allowed = "none or sincos with views.local, whose grids are smaller"
            positions = self.model.absolute_positions
            checks.append((positions != "learned", "model.absolute_positions", positions, allowed))
        return checks


MODALITY_OF = dict.fromkeys(("mae", "simmim", "maskfeat", "byol", "dino"), "vision") | {"masked_lm": "text"}
"""Methods that are made for one kind of input."""


def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """All dotted keys of the schema, sections included."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += known_keys(field.annotation, prefix + name + ".")
    return keys


def describe_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """One line per key: name, default, description."""
    lines = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines += describe_keys(field.annotation, f"{prefix}{name}.")
        else:
            lines.append(f"  {prefix + name:32} {field.default!s:22} {field.description}")
    return lines


def nearest(word: str, words: list[str]) -> str:
    """`, did you mean X?` for the nearest of `words`, or nothing."""
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f", did you mean '{match[0]}'?" if match else ""


def validate(values: dict[str, Any]) -> RunConfig:
    """Check composed values. Raises UserError naming the key, the value and what is allowed."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    """One line for the first problem of a validation error."""
    first = error.errors()[0]
    parts = [str(p) for p in first["loc"]]
    known = known_keys()
    key = ".".join(parts)
    while key and key not in known and first["type"] != "extra_forbidden":  # union branches are no keys
        key = key.rpartition(".")[0]
    if first["type"] == "extra_forbidden":
        return f"unknown configuration key '{key}'{nearest(key, known)}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    allowed = first["msg"].replace("Input should be", "it must be")
    return f"{key} = {first['input']!r} is not allowed: {allowed}"


def load(path: Path) -> RunConfig:
    """Read a run's resolved configuration."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the run has not been started or the path is wrong")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from None
    return validate(values)


def dump(config: RunConfig) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
