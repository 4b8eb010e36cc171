"""A pre-trained or fine-tuned model in use: features of any layer, and its head's logits."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.downstream.classifier import Classifier
from data2vec.downstream.ctc import CTCModel
from data2vec.downstream.recordings import RecordingClassifier
from data2vec.downstream.sentence import SentenceClassifier
from data2vec.downstream.words import WordModel
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder, Masks
from data2vec.nn.waveform import frame_padding

Task = Literal["none", "ctc", "recording", "sentence", "image", "words"]
Weights = Literal["student", "teacher"]


def task_of(names: Mapping[str, Tensor], config: RunConfig | None = None) -> Task:
    """Which head a model has, by the names of its tensors; of two with the same names the configuration tells."""
    if "output.weight" in names and config is not None and config.task.kind == "recordings":
        return "recording"
    signs: dict[str, Task] = {
        "output.weight": "ctc",
        "out_proj.weight": "sentence",
        "classifier.weight": "image",
        "head.dense.weight": "words",
    }
    return next((task for name, task in signs.items() if name in names), "none")


def build_model(config: RunConfig, tensors: Mapping[str, Tensor]) -> nn.Module:
    """An encoder with the head that `tensors` have weights for; an `Encoder` without one."""
    encoder, dim = build_encoder(config), config.model.dim
    match task_of(tensors, config):
        case "ctc":
            return CTCModel(encoder, dim, len(tensors["output.weight"]), reader="reader.weights" in tensors)
        case "recording":
            return RecordingClassifier(config, encoder, len(tensors["output.weight"]))
        case "sentence":
            return SentenceClassifier(config, encoder, len(tensors["out_proj.weight"]))
        case "image":
            return Classifier(config, encoder, len(tensors["classifier.weight"]))
        case "words":
            return WordModel(encoder, dim, config.data.vocab_size, config.model.norm_eps)
    return encoder


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """State of a model of `build_model` by the names of a checkpoint, `encoder.` in front of the encoder's."""
    prefix = "encoder." if isinstance(model, Encoder) else ""
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


class PretrainedEncoder(nn.Module):
    """What `data2vec.load` returns: a model in evaluation mode."""

    def __init__(self, config: RunConfig, tensors: Mapping[str, Tensor], weights: Weights = "student") -> None:
        """`tensors` by the names of a checkpoint. UserError if they are not the configured model's."""
        super().__init__()
        self.config = config
        self.task = task_of(tensors, config)
        chosen = teacher_tensors(tensors) if weights == "teacher" else dict(tensors)
        with torch.random.fork_rng(devices=[]):  # initial values are overwritten; no draw of the caller's is used
            self.model = build_model(config, chosen)
        wanted = tensors_of(self.model)
        if lacking := [name for name in wanted if name not in chosen]:
            raise UserError(f"the checkpoint lacks {lacking[0]} and {len(lacking) - 1} more of its configuration")
        prefix = "encoder." if isinstance(self.model, Encoder) else ""
        try:
            self.model.load_state_dict({name.removeprefix(prefix): chosen[name] for name in wanted})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the checkpoint does not fit its configuration: {reason[:300]}") from None
        self.eval().requires_grad_(False)

    @property
    def encoder(self) -> Encoder:
        """The encoder without the head."""
        encoder: Any = self.model if isinstance(self.model, Encoder) else self.model.encoder
        return encoder

    def forward(self, inputs: Tensor, padding: Tensor | None = None, layer: int | None = None) -> Tensor:
        """Features (B, T, D) of images (B, C, H, W), waveforms (B, S) at 16 kHz or token ids (B, T).

        Args:
            inputs: normalised as in training (`config.vision.mean`, `config.speech.normalise`).
            padding: True where inputs are padding, (B, S) samples or (B, T) tokens; images have none.
            layer: 0 = what enters the first block, k = behind block k; None = the encoder's output.
        """
        depth = len(self.encoder.trunk.blocks)
        if layer is not None and not 0 <= layer <= depth:
            raise UserError(f"layer = {layer} is not allowed: it must be 0 to {depth}, the number of blocks")
        return self.states(inputs, padding)[-1 if layer is None else layer][:, self.encoder.extra_tokens :]

    def states(self, inputs: Tensor, padding: Tensor | None = None, masks: Masks | None = None) -> list[Tensor]:
        """(B, E + T, D), extra tokens first: what enters the first block, behind each block, the encoder's output."""
        encoder = self.encoder
        assert encoder.local is not None and encoder.context is not None
        tokens = encoder.context(encoder.local(inputs), self.position_padding(inputs, padding), masks)
        x, blocks = encoder.trunk(tokens.x, tokens.bias, "end")
        return [tokens.x, *blocks, x]

    def class_token(self, inputs: Tensor, layer: int | None = None) -> Tensor:
        """First extra token (B, D) of the same place as `forward`. UserError for models without."""
        if not self.encoder.extra_tokens:
            raise UserError("this model has no class token")
        return self.states(inputs)[-1 if layer is None else layer][:, 0]

    def logits(self, inputs: Tensor, padding: Tensor | None = None) -> Tensor:
        """The head's output: (B, classes), or (B, T, letters or words). UserError for a model without head."""
        if self.task == "none":
            raise UserError("this model has no head: it is pre-trained only")
        if self.task in ("ctc", "recording"):
            return self.model(inputs, self.position_padding(inputs, padding))
        return self.model(inputs)  # text knows its padding by the id

    def position_padding(self, inputs: Tensor, padding: Tensor | None) -> Tensor | None:
        """Padding of the sequence (B, T) for padding of the inputs: frames instead of samples."""
        if padding is None or self.config.modality == "vision":
            return None
        if self.config.modality == "text":
            return padding if bool(padding.any()) else None
        return frame_padding((~padding).sum(1), inputs.shape[1], self.config.speech.conv_layers)


def teacher_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder with the teacher's weights in the student's place, as far as the teacher owns them.

    Raises:
        UserError: the checkpoint holds no teacher.
    """
    prefix = "teacher."
    teacher = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix + "encoder.")}
    if not teacher:
        raise UserError("weights = teacher is not possible: this checkpoint holds no teacher; use weights=student")
    return {name: t for name, t in tensors.items() if name.startswith("encoder.")} | teacher
