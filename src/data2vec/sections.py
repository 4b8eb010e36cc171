"""The sections of one run's configuration: every key with its type, default and description.

`config.py` puts them together and checks what must hold between them; `config/run/` sets them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
TargetNorm = Literal["batch", "instance", "layer"]


class Section(BaseModel):
    """A part of the configuration; keys that it does not name are errors."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class DataConfig(Section):
    """Which data set."""

    name: str = Field("imagenet", description="data set, one of `python -m data2vec prepare --help`")
    path: str | None = Field(None, description="folder with your own or licensed data")
    vocab_size: Positive = Field(50_265, description="text: tokens of the vocabulary, special ones included")
    tokenizer: Literal["bpe", "unigram", "gpt2"] = Field(
        "bpe", description="text: SentencePiece learned from the data (bpe, unigram), or the files in bpe_dir (gpt2)"
    )
    bpe_dir: str | None = Field(
        None, description="text: folder with encoder.json, vocab.bpe, dict.txt for gpt2, null = data.path"
    )
    train_split: str = Field("train", description="speech: the split that is trained on, or several joined by +")
    also: list[str] = Field([], description="speech: further prepared sets whose train split joins pre-training")


class VisionConfig(Section):
    """Images: geometry and augmentation."""

    image_size: Positive = Field(224, description="pixels on a side after cropping")
    patch_size: Positive = Field(16, description="pixels on a side of a patch")
    channels: Positive = Field(3, description="colour channels")
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="per channel, of [0, 1] pixels")
    std: tuple[float, float, float] = Field((0.229, 0.224, 0.225), description="per channel, of [0, 1] pixels")
    crop_scale: tuple[Share, Share] = Field((0.2, 1.0), description="area share of random resized crops")
    horizontal_flip: bool = Field(True, description="flip half of the images")
    color_jitter: NonNegative = Field(0.0, description="strength of brightness, contrast, saturation jitter")

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.image_size // self.patch_size


class SpeechConfig(Section):
    """Speech: the convolutional front end, and which audio a batch holds. Seconds are at 16 kHz."""

    conv_layers: list[tuple[Positive, Positive, Positive]] = Field(
        [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2],
        min_length=1,
        description="channels, kernel, stride of each convolution over the waveform",
    )
    conv_norm: Literal["layer", "group"] = Field("layer", description="norm after every or the first convolution")
    conv_bias: bool = Field(False, description="bias of these convolutions")
    feature_norm_eps: float = Field(1e-5, gt=0, description="epsilon of the layer norm behind these convolutions")
    feature_grad_mult: NonNegative = Field(1.0, description="factor of the gradient entering them, 0 = frozen")
    pos_conv_width: Positive = Field(95, description="frames that the convolutional positions see")
    pos_conv_depth: Positive = Field(5, description="convolutions of the positions; 1 in 1.0 = wav2vec 2.0's one")
    pos_conv_groups: Positive = Field(16, description="groups of these convolutions")
    pos_conv_norm: bool = Field(False, description="layer norm in front of the positions (2.0)")
    pos_conv_padding: Literal["zeroed", "released"] = Field(
        "zeroed", description="padding between these convolutions; as released it changes the last frames before it"
    )
    frame_dropout: Share = Field(0.0, description="of frames before they are hidden or quantised (wav2vec2, hubert)")
    hidden_std: NonNegative = Field(0.01, description="fine-tuning of 2.0: noise at hidden frames, 0 = zeros (P-C4)")
    normalise: bool = Field(True, description="zero mean, unit variance of each recording, before it is cropped")
    min_seconds: NonNegative = Field(2.0, description="shorter recordings are left out")
    max_seconds: float = Field(20.0, gt=0, description="longer ones are cropped")
    batch_seconds: float = Field(500.0, gt=0, description="audio per update over all devices")
    micro_seconds: float | None = Field(None, gt=0, description="audio per forward pass, null = batch_seconds")


class TextConfig(Section):
    """Text: blocks of tokens and their embedding."""

    tokens_per_sample: Positive = Field(512, description="tokens of a block, the <s> in front included")
    block_mode: Literal["none", "complete", "complete_doc"] = Field(
        "none", description="cut anywhere; whole sentences; whole sentences of one document"
    )
    max_positions: Positive = Field(512, description="longest sequence that the position table serves, in tokens")
    embedding_norm: bool = Field(True, description="layer norm of the embedded tokens")
    embedding_norm_eps: float = Field(1e-5, gt=0, description="epsilon of this layer norm")
    embedding_scale: bool = Field(False, description="multiply token embeddings by sqrt(D)")
    embedding_dropout: Share = Field(0.1, description="of the embedded tokens")
    teacher_input: Literal["full", "masked_only"] = Field(
        "full", description="1.0: the whole sentence, or only the selected tokens as released (P-T1)"
    )


class ModelConfig(Section):
    """Size and layout of the encoder."""

    name: str = Field("base", description="label of the size, shown in tables")
    dim: Positive = Field(768, description="width")
    heads: Positive = Field(12, description="attention heads")
    depth: Positive = Field(12, description="blocks of the trunk, whose features can be targets")
    prenet_depth: Count = Field(0, description="further blocks in front, in 2.0's context encoder")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden width of the feed-forward part / width")
    norm: Literal["post", "pre", "pre_released"] = Field("post", description="placement of layer norms")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the blocks' layer norms")
    final_norm: bool = Field(False, description="layer norm after the last block")
    qkv_bias: Literal["full", "no_key"] = Field("full", description="bias of query, key, value")
    layer_scale: NonNegative | None = Field(None, description="initial layer scale, null = none")
    relative_positions: Literal["none", "shared", "per_block"] = Field(
        "none", description="learned relative position bias (1.0 vision)"
    )
    absolute_positions: Literal["none", "learned", "sincos"] = Field("none", description="added to the tokens")
    alibi: Literal["none", "1d", "manhattan", "euclidean"] = Field(
        "none", description="distance bias of the scores with a learned scale (2.0)"
    )
    alibi_scale_per_head: bool = Field(True, description="one learned scale per head instead of one for all")
    alibi_scale_per_layer: bool = Field(False, description="one learned scale per block instead of one for all")
    alibi_scale_learned: bool = Field(True, description="train the scale; else it stays 1")
    init_trunk: str | None = Field(None, description="run folder whose blocks the trunk starts from, null = random")
    extra_tokens: Count = Field(0, description="learned tokens in front of the sequence")
    head_layers: Positive = Field(1, description="linear layers of 1.0's prediction head")
    init: Literal["bert", "beit", "xavier"] = Field(
        "bert", description="initialisation rule (algorithms.md 1.8, 6.2, 8.1)"
    )
    dropout: Share = Field(0.0, description="after the attention projection")
    attention_dropout: Share = Field(0.0, description="of the attention weights")
    activation_dropout: Share = Field(0.0, description="inside the feed-forward part")
    post_mlp_dropout: Share = Field(0.0, description="after the feed-forward part")
    input_dropout: Share = Field(0.0, description="of the tokens entering the trunk")
    drop_path: Share = Field(0.0, description="stochastic depth of the last block, linear from 0")
    layer_drop: Share = Field(0.0, description="probability of skipping a block in training")


class MaskConfig(Section):
    """What the student does not see."""

    sampler: Literal["inverse_block", "block", "random", "beit_block", "span", "block_1d", "tokens"] = Field(
        "inverse_block", description="mask sampler"
    )
    ratio: Share = Field(0.8, description="share of positions hidden")
    length: Positive = Field(3, description="side of a block in patches, length of a span or block in frames")
    adjust: NonNegative = Field(0.07, description="added to the ratio before the exact-count step")
    clones: Positive = Field(16, description="masked views per sample (2.0)")
    visible_only: bool = Field(True, description="2.0: encode visible positions only; else a learned token joins them")
    num_patches: Positive | None = Field(None, description="beit_block: patches hidden at most, null = by ratio")
    min_block: Positive = Field(16, description="beit_block: smallest block, in patches")
    max_block: Positive | None = Field(None, description="beit_block: largest block, null = num_patches")
    min_spans: Count = Field(1, description="span: least number of spans of a recording")
    counts: Literal["equalised", "free"] = Field(
        "equalised", description="speech: hidden frames of a batch's rows; free = 1.0 unequal, 2.0 as released (P-I2)"
    )
    expand_adjacent: bool = Field(False, description="complete masks next to existing blocks")
    non_overlapping: bool = Field(False, description="take blocks from a coarse grid")
    keep: Share = Field(0.0, description="tokens: share of the selected tokens that stay as they are")
    randomise: Share = Field(0.0, description="tokens: share of the selected tokens that become a random one")


class TargetConfig(Section):
    """What the student predicts."""

    top_k: Positive = Field(10, description="last blocks of the trunk whose features are averaged")
    layers: list[Count] | None = Field(None, description="averaged blocks by index, instead of top_k")
    feature: Literal["attention", "ffn", "ffn_residual", "end"] = Field(
        "ffn", description="which tensor of a teacher block"
    )
    norm_layer: list[TargetNorm] = Field(["instance"], description="normalisations of each block's feature")
    norm_average: list[TargetNorm] = Field(["layer"], description="normalisations after averaging")


class TeacherConfig(Section):
    """The moving average of the student."""

    start: Share = Field(0.9998, description="decay at the first update")
    end: Share = Field(0.99999, description="decay after annealing")
    anneal_updates: Count = Field(100_000, description="updates of linear annealing (scaled by budget)")
    scope: Literal["encoder", "context", "trunk"] = Field("encoder", description="which stages it owns")
    copied: list[str] = Field([], description="patterns of parameters copied instead of averaged")
    context: float = Field(100.0, gt=0, le=100, description="% of the positions that its attention sees around each")


class DecoderConfig(Section):
    """2.0's convolutional decoder; of MAE's Transformer decoder width, blocks and heads."""

    kind: Literal["conv", "transformer", "none"] = Field(
        "conv", description="2.0: convolutions, or MAE's blocks (images); none = a linear layer, without visible_only"
    )
    dim: Positive = Field(768, description="width")
    layers: Positive = Field(6, description="convolutions, blocks in MAE")
    heads: Positive = Field(16, description="attention heads (MAE, kind=transformer)")
    kernel: Positive = Field(3, description="kernel size")
    groups: Positive = Field(16, description="groups of the convolutions")
    residual: bool = Field(True, description="add the input of a layer where widths agree")
    projection_layers: Positive = Field(1, description="linear layers at the end")
    input_dropout: Share = Field(0.0, description="of the encoder's output")
    noise_std: NonNegative = Field(0.01, description="of the noise at hidden positions")
    positions_masked: bool = Field(False, description="add fixed positions to the noise at hidden positions")
    positions_all: bool = Field(False, description="add fixed positions to the whole decoder input")


class LossConfig(Section):
    """How prediction and target are compared."""

    beta: NonNegative | Literal["l1"] = Field(
        0.0, description="0 = squared error, l1 = absolute error, else smooth L1 with this beta"
    )
    scale: Literal["inv_sqrt_dim", "mean"] | float = Field(
        "inv_sqrt_dim", description="factor of the summed loss: 1/sqrt(D), 1/D or a number"
    )
    d2v: NonNegative = Field(1.0, description="weight of the regression at hidden positions")
    cls: NonNegative = Field(0.0, description="weight of the class-token loss (2.0)")
    cls_rows: Positive | None = Field(
        256, description="views per GPU that the class weight was published for; null = as released (P-I1)"
    )
    reconstruction: NonNegative = Field(0.0, description="weight of the reconstruction of the input (2.0)")


class PixelsConfig(Section):
    """Targets that MAE, SimMIM and MaskFeat take from the image itself."""

    norm: bool = Field(True, description="MAE: standardise the pixels of each patch")
    hog_bins: Positive = Field(9, description="MaskFeat: directions of a gradient histogram")
    hog_cells: Positive = Field(2, description="MaskFeat: histograms on a side of a patch")


class ViewsConfig(Section):
    """BYOL and DINO: augmented views of an image, and the heads on their pooled features."""

    pooling: Literal["mean", "class_token"] = Field("class_token", description="features of a view")
    hidden_dim: Positive = Field(4096, description="inside projector and predictor")
    output_dim: Positive = Field(256, description="of the projector")
    prototypes: Positive = Field(65_536, description="DINO: outputs of the head")
    student_temperature: float = Field(0.1, gt=0, description="DINO: of the student's softmax")
    teacher_temperature: tuple[float, float] = Field((0.04, 0.07), description="DINO: of the teacher's, first and last")
    temperature_updates: Count = Field(0, description="DINO: updates from the first to the last (scaled by budget)")
    center_decay: Share = Field(0.9, description="DINO: decay of the mean that is taken off the teacher's outputs")
    local: Count = Field(0, description="DINO: small views per image, beside two of the full size")
    local_patches: Positive = Field(6, description="DINO: patches on a side of a small view")
    local_scale: tuple[Share, Share] = Field((0.05, 0.25), description="DINO: area share of small views")
    grayscale: Share = Field(0.2, description="share of views without colour")


class ContrastConfig(Section):
    """wav2vec 2.0 and HuBERT: how prediction and discrete targets are compared at hidden frames."""

    dim: Positive = Field(256, description="width in which they are compared")
    temperature: float = Field(0.1, gt=0, description="divides the cosines")
    negatives: Positive = Field(100, description="other hidden frames that a frame is told from (wav2vec2)")
    diversity: NonNegative = Field(0.1, description="weight of the use of all codes (wav2vec2)")
    feature_penalty: NonNegative = Field(10.0, description="weight of the mean square of the waveform features")


class QuantiserConfig(Section):
    """wav2vec 2.0's product quantiser."""

    groups: Positive = Field(2, description="codebooks")
    entries: Positive = Field(320, description="vectors of a codebook")
    dim: Positive = Field(256, description="width of the chosen vectors of all codebooks together")
    temperature: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (2.0, 0.5), description="of the Gumbel softmax, at the start and after annealing"
    )
    anneal_updates: Count = Field(277_258, description="updates in which it falls by a factor each (scaled by budget)")


class HubertConfig(Section):
    """HuBERT's units: clusters of the frames' features."""

    clusters: Positive = Field(100, description="units")
    units_from: str | None = Field(None, description="folder of an earlier run to cluster; null = MFCC (iteration 1)")
    layer: Positive = Field(6, description="block of that run whose output is clustered, from 1")
    fit_seconds: float = Field(36_000.0, gt=0, description="seconds of training audio that the clusters are fitted to")


class OptimConfig(Section):
    """Optimiser and schedule."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    min_lr: NonNegative = Field(0.0, description="floor of the schedule")
    schedule: Literal["cosine", "tri_stage", "polynomial", "beit_cosine", "mae_cosine", "constant"] = Field(
        "cosine", description="learning-rate schedule"
    )
    warmup_updates: Count = Field(50_040, description="updates of linear warm-up (scaled by budget)")
    phases: tuple[Share, Share, Share] = Field((0.03, 0.9, 0.07), description="tri_stage: warm-up, hold, decay")
    betas: tuple[Share, Share] = Field((0.9, 0.95), description="Adam's")
    eps: float = Field(1e-8, gt=0, description="Adam's, outside the bias correction (P-7)")
    weight_decay: NonNegative = Field(0.05, description="decoupled")
    weight_decay_on: Literal["all", "matrices"] = Field(
        "matrices", description="all = as released (P-1); matrices = none on biases, norms and 1-D tensors"
    )
    clip_norm: NonNegative = Field(4.0, description="gradient norm limit, 0 = off")


class TrainConfig(Section):
    """Length, batch and machine."""

    updates: Positive = Field(375_300, description="optimiser updates (scaled by budget)")
    batch_size: Positive = Field(256, description="samples per update over all devices")
    views: Positive | None = Field(None, description="masked views per update: batch_size becomes views / mask.clones")
    micro_batch: Positive | None = Field(
        None, description="most samples of a forward pass, null = as many as batch_size"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto = bf16 where it is fast")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto = cuda if there is one")
    threads: Count = Field(0, description="CPU threads, 0 = torch's default")
    workers: Count = Field(2, description="loader processes")
    log_every: Positive = Field(100, description="updates between log lines")
    checkpoint_seconds: Positive = Field(300, description="seconds between saved training states")
    snapshots: Count = Field(0, description="encoders kept along the run, from the first weights on, for the probe")
    checkpointing: bool = Field(False, description="compute blocks again in the backward pass: less memory, slower")
    compile: bool = Field(False, description="torch.compile of the blocks")
    timeout_seconds: Positive = Field(1800, description="how long one of several processes waits for the others")
    max_bad_steps: Positive = Field(20, description="non-finite updates in a row that stop the run")
    variance_floor: tuple[NonNegative, NonNegative] = Field(
        (0.0, 0.0), description="stop when target_var, pred_var fall below after 5,000 updates; 0 = off"
    )


class ProbeConfig(Section):
    """Evaluation of frozen features."""

    features: Literal["encoder", "random", "pixels", "filterbank", "tfidf"] = Field(
        "encoder", description="what is probed; random weights and the input itself are controls"
    )
    data: str | None = Field(None, description="labelled data set; null = that of the pre-training")
    labels: Literal["label", "speaker"] = Field("label", description="speech: what is to be told from the features")
    pooling: Literal["mean", "class_token"] = Field("mean", description="how positions are pooled")
    train_limit: Positive | None = Field(10_000, description="training samples used, stratified; null = all")
    regularisation: list[float] = Field([0.001, 0.01, 0.1, 1.0], description="grid of C, chosen on held-out data")
    neighbours: Positive = Field(20, description="k of k-NN")
    batch_size: Positive = Field(256, description="samples per forward pass")


class TaskConfig(Section):
    """What a fine-tuned model is for: a file of `config/run/task/`."""

    name: str = Field("classification", description="label of the task, shown in tables")
    kind: Literal["images", "recordings", "ctc", "sentences"] = Field(
        "images", description="classes of images, of recordings; letters of recordings; classes or scores of sentences"
    )
    data: str | None = Field(None, description="labelled data set; null = that of the pre-training")
    labels: Literal["label", "labels", "speaker"] = Field(
        "label", description="recordings: one class of each, several at a time, or who speaks"
    )
    train: str = Field("train", description="speech: split with the labels; several are joined by +")
    valid: str = Field("valid", description="speech: split evaluated while training")
    test: list[str] = Field(["test"], min_length=1, description="speech: splits evaluated at the end")
    letters: Literal["data", "librispeech"] = Field(
        "data", description="ctc: letters of the training transcripts, or the published list of LibriSpeech"
    )
    lm: str | None = Field(
        None, description="ctc: language model; train = n-grams of the training transcripts, a KenLM file, null = none"
    )
    lm_order: Annotated[int, Field(ge=2, le=4)] = Field(3, description="ctc: length of these n-grams, in words")
    lm_weights: list[NonNegative] = Field(
        [0.5, 1.0, 2.0], min_length=1, description="ctc: weights of the language model; the best on valid is used"
    )
    word_scores: list[float] = Field(
        [-1.0, 0.0, 1.0], min_length=1, description="ctc: added for every word; the best on valid is used"
    )
    lexicon: str | None = Field(
        None, description="ctc: file whose lines begin with the words to find; null = those of the training transcripts"
    )
    beam: Positive = Field(50, description="ctc: hypotheses that the search keeps")
    beam_threshold: float = Field(50.0, gt=0, description="ctc: it drops those so much worse than the best")


class FinetuneConfig(Section):
    """Fine-tuning of the whole network on a task."""

    init: Literal["pretrained", "scratch", "tfidf"] = Field(
        "pretrained", description="where the encoder starts; tfidf: text, a control without a network"
    )
    start_from: str | None = Field(
        None, description="folder of an earlier fine-tuning whose encoder is taken instead (text: RTE from MNLI)"
    )
    pooling: Literal["mean", "class_token"] = Field("mean", description="how positions are pooled")
    head_norm: bool = Field(True, description="layer norm between pooling and classifier")
    head_norm_eps: float = Field(1e-6, gt=0, description="epsilon of this layer norm")
    updates: Positive = Field(125_100, description="optimiser updates (scaled by budget)")
    batch_size: Positive = Field(512, description="samples per update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    min_lr: NonNegative = Field(1e-6, description="floor of the schedule")
    schedule: Literal["cosine", "tri_stage", "polynomial"] = Field("cosine", description="learning-rate schedule")
    phases: tuple[Share, Share, NonNegative] = Field((0.1, 0.4, 0.5), description="tri_stage: warm-up, hold, decay")
    final_lr_scale: Share = Field(0.05, description="tri_stage: last learning rate / peak")
    warmup_updates: Count = Field(16_000, description="updates of linear warm-up (scaled by budget)")
    weight_decay: NonNegative = Field(0.05, description="decoupled")
    betas: tuple[Share, Share] = Field((0.9, 0.95), description="Adam's")
    eps: float | None = Field(None, gt=0, description="Adam's; null = that of the pre-training")
    clip_norm: NonNegative = Field(0.0, description="gradient norm limit, 0 = off")
    dropout: Share = Field(0.0, description="of tokens, attention's projection and feed-forward output")
    attention_dropout: Share = Field(0.0, description="of the attention weights")
    activation_dropout: Share = Field(0.0, description="inside the feed-forward part")
    final_dropout: Share = Field(0.0, description="speech: of the encoder's output, or inside the head (conv)")
    layer_drop: Share = Field(0.0, description="probability of skipping a block in training")
    layer_decay: float = Field(0.65, gt=0, le=1, description="factor of the learning rate per block")
    layer_decay_rule: Literal["data2vec2", "beit", "mae"] = Field("data2vec2", description="what gets which factor")
    drop_path: Share = Field(0.1, description="stochastic depth of the last block")
    label_smoothing: Share = Field(0.1, description="of the targets")
    mixup: NonNegative = Field(0.7, description="alpha, 0 = off")
    cutmix: NonNegative = Field(1.0, description="alpha, 0 = off")
    mix_prob: Share = Field(0.9, description="share of batches that are mixed")
    randaugment: str | None = Field("rand-m9-mstd0.5-inc1", description="timm's auto-augment string, null = off")
    random_erasing: Share = Field(0.25, description="probability")
    crop_scale: tuple[Share, Share] = Field((0.08, 1.0), description="area share of random resized crops")
    train_limit: Positive | None = Field(None, description="labelled samples used, stratified; null = all")
    train_seconds: float | None = Field(None, gt=0, description="ctc: seconds of labelled audio used; null = all")
    batch_seconds: float = Field(1600.0, gt=0, description="speech: audio per update, padding included")
    micro_seconds: float | None = Field(None, gt=0, description="speech: audio per forward pass, null = batch_seconds")
    head: Literal["linear", "conv"] = Field(
        "linear",
        description="ctc: linear = from the last block, as published; conv = from a mean of all blocks, 9 frames wide",
    )
    head_init_scale: NonNegative = Field(
        1.0, description="ctc: factor of the output layer's first weights; 0 = every letter equally likely"
    )
    freeze_updates: Count = Field(0, description="speech: first updates that train the head alone (scaled by budget)")
    mask_ratio: Share = Field(0.65, description="speech: share of frames hidden in training, before overlaps")
    mask_length: Positive = Field(10, description="speech: frames of a hidden span")
    channel_ratio: Share = Field(0.5, description="speech: share of channels hidden in training, before overlaps")
    channel_length: Positive = Field(64, description="speech: neighbouring channels hidden together")
    source_mixup: Share | None = Field(
        None, description="recordings: share of the first of two mixed waveforms is at least this; null = off"
    )
    eval_every: Positive | None = Field(None, description="updates between evaluations, null = ten times a run")
