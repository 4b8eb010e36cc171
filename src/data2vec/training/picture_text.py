"""What was masked in text and what the student knows about it: the arrays behind the report's picture.

Targets are latent, so the student names no token. For each hidden one `nearest` are the tokens of other training
text whose *teacher targets* are nearest to the student's prediction; in a masked language model they are the words
that the model finds likeliest.
"""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.text import TextBlocks, TextSet, pad_rows
from data2vec.data.tokenizer import load_tokenizer
from data2vec.methods.build import Method
from data2vec.methods.masked_lm import MaskedLM
from data2vec.methods.step import Batch, StepOutput
from data2vec.modalities.tokens import text_views
from data2vec.training.device import Device
from data2vec.training.run_folder import write_atomic
from data2vec.training.streams import num_clones, text_batch

BANK = 64  # training blocks whose tokens can be retrieved
NEAREST = 3
ROWS = 256  # predictions that are compared at once


@torch.no_grad()
def text_picture(path: Path, method: Method, config: RunConfig, device: Device, count: int = 8) -> None:
    """Write masked.npz of `count` training blocks (N, T).

    `pieces` (N, T) and `nearest` (N, T, 3) as text, `is_masked` (N, T), `error` (N, T) float32; `nearest` is empty and
    `error` NaN where the token is visible.
    """
    folder = Path(config.data_dir) / config.data.name
    dataset = TextSet(folder, "train", config.data.vocab_size, config.data.tokenizer)
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
    predicted = output.pred[first][is_masked].float()
    if isinstance(method, MaskedLM):
        best = method.logits(predicted).topk(NEAREST).indices
    else:
        vectors, ids = [], []
        for start in range(count, len(tokens), count) or [0]:  # not the blocks shown, if there are others
            other, found = run(slice(start, start + count))
            inputs, padding = other.full_view()
            known = slice(None) if padding is None else ~padding
            vectors.append(found.target[known].reshape(-1, found.target.shape[-1]).float())
            ids.append(inputs[known].flatten())
        best = nearest_tokens(predicted, torch.cat(vectors), torch.cat(ids), NEAREST)
    tokenizer = load_tokenizer(folder)
    pieces = np.array([*(tokenizer.piece(i) for i in range(tokenizer.vocab_size)), ""])  # id -1 is no token
    nearest = np.full((*is_masked.shape, NEAREST), -1)
    nearest[is_masked.cpu().numpy()] = best.cpu().numpy()
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        pieces=pieces[tokens[:count]],
        is_masked=is_masked.cpu().numpy(),
        error=errors.float().cpu().numpy(),
        nearest=pieces[nearest],
    )
    write_atomic(path, buffer.getvalue())


def nearest_tokens(pred: Tensor, bank: Tensor, ids: Tensor, count: int) -> Tensor:
    """Different tokens whose vectors in `bank` (N, D) are nearest to each of `pred` (P, D), nearest first, (P, count).

    `ids` (N,) are the tokens of the bank; -1 where it holds fewer different ones.
    """
    different, place = ids.unique(return_inverse=True)
    found = torch.full((len(pred), count), -1, dtype=ids.dtype, device=pred.device)
    for start in range(0, len(pred), ROWS):
        distance = torch.cdist(pred[start : start + ROWS], bank)
        least = distance.new_full((len(distance), len(different)), torch.inf)
        least.scatter_reduce_(1, place.expand(len(distance), -1), distance, "amin")
        best = least.topk(min(count, len(different)), largest=False).indices
        found[start : start + ROWS, : best.shape[1]] = different[best]
    return found
