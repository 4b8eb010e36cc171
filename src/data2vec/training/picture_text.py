"""What was masked in text and what the student knows about it: the arrays behind the report's picture.

For each hidden token `nearest` is the token of the training text whose *teacher target* is nearest to the
student's prediction; in a masked language model it is the word that the model finds likeliest.
"""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.text import TextBlocks, TextSet, pad_rows
from data2vec.data.vocabulary import Vocabulary
from data2vec.methods.build import Method
from data2vec.methods.masked_lm import MaskedLM
from data2vec.methods.step import Batch, StepOutput
from data2vec.modalities.tokens import text_views
from data2vec.training.device import Device
from data2vec.training.run_folder import write_atomic
from data2vec.training.streams import num_clones, text_batch

BANK = 64  # training blocks whose tokens can be retrieved


@torch.no_grad()
def text_picture(path: Path, method: Method, config: RunConfig, device: Device, count: int = 8) -> None:
    """Write masked.npz: tokens (N, T) with their `pieces`, `is_masked`, `error` (NaN where visible), `nearest`."""
    folder = Path(config.data_dir) / config.data.name
    dataset = TextSet(folder, "train", config.data.vocab_size)
    blocks = TextBlocks(dataset, config.text.block_mode, config.text.tokens_per_sample)
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    chosen = rng.permutation(len(blocks))[: count + BANK]
    tokens, lengths = pad_rows([blocks.block(int(i)) for i in chosen])

    def run(rows: slice) -> tuple[Batch, StepOutput]:
        views = text_views(tokens[rows], lengths[rows], rng, config)
        batch = text_batch({name: torch.from_numpy(value) for name, value in views.items()}).to(device.torch)
        return batch, method(batch)

    batch, output = run(slice(0, count))
    first = slice(0, None, num_clones(config))  # one view of each block
    is_masked = batch.masks.is_masked[first]
    errors = method.position_errors(output)[first].masked_fill(~is_masked, torch.nan)
    if isinstance(method, MaskedLM):
        nearest = method.logits(output.pred).argmax(-1)
    else:
        vectors, ids = [], []
        for start in range(count, len(tokens), count) or [0]:  # not the blocks shown, if there are others
            other, found = run(slice(start, start + count))
            inputs, padding = other.full_view()
            known = slice(None) if padding is None else ~padding
            vectors.append(found.target[known].reshape(-1, found.target.shape[-1]).float())
            ids.append(inputs[known].flatten())
        nearest = torch.cat(ids)[_nearest(output.pred[first].float(), torch.cat(vectors))]
    vocabulary = Vocabulary.load(folder)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        tokens=tokens[:count],
        pieces=np.array(vocabulary.pieces(range(vocabulary.size))),
        is_masked=is_masked.cpu().numpy(),
        error=errors.cpu().numpy(),
        nearest=nearest.cpu().numpy(),
    )
    write_atomic(path, buffer.getvalue())


def _nearest(pred: Tensor, bank: Tensor) -> Tensor:
    """Index of the nearest bank row (N, D) for each position of `pred` (R, T, D) -> (R, T)."""
    return torch.stack([torch.cdist(row[None], bank[None])[0].argmin(1) for row in pred])
