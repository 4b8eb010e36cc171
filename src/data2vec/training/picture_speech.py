"""What was masked in recordings and how well the student filled it in: the arrays behind the report's picture."""

import io
from pathlib import Path

import numpy as np
import torch

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE
from data2vec.methods.build import Method
from data2vec.methods.step import Batch
from data2vec.modalities.speech import draw_masks
from data2vec.training.device import Device
from data2vec.training.run_folder import write_atomic
from data2vec.training.streams import speech_recordings


@torch.no_grad()
def speech_picture(path: Path, method: Method, config: RunConfig, device: Device, count: int = 8) -> None:
    """Write masked.npz of `count` training recordings around the median length, cropped to the shortest of them.

    Arrays: waveform (N, samples) float32 as the model sees it; is_masked (N, T) bool, one mask each; error (N, T)
    float32, mean squared error of the prediction, nan where visible; target_var and pred_var (N, T) float32, variance
    over the features of target and prediction at each frame; rate, samples per second.
    """
    s = config.speech
    recordings = speech_recordings(config)
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    middle = max(0, (len(recordings) - count) // 2)
    chosen = np.argsort(recordings.lengths, kind="stable")[middle : middle + count]
    size = int(min(recordings.lengths[chosen].min(), round(s.max_seconds * SAMPLE_RATE)))
    waveforms = torch.stack([recordings.waveform(int(i))[:size] for i in chosen])
    masks = draw_masks(config, size, recordings.lengths[chosen], rng)
    batch = Batch(waveforms, masks).to(device.torch)
    output = method(batch)
    views = len(masks.is_masked) // len(waveforms)
    first = slice(0, None, views)  # one mask per recording
    is_masked = batch.masks.is_masked[first]
    errors = method.position_errors(output)[first].masked_fill(~is_masked, torch.nan)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        waveform=waveforms.numpy(),
        is_masked=is_masked.cpu().numpy(),
        error=errors.float().cpu().numpy(),
        target_var=output.target.float().var(-1).cpu().numpy(),
        pred_var=output.pred[first].float().var(-1).cpu().numpy(),
        rate=np.array(SAMPLE_RATE),
    )
    write_atomic(path, buffer.getvalue())
