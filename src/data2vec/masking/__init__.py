"""Pure, vectorised mask samplers. True means hidden, everywhere.

Every sampler takes sizes and a `numpy.random.Generator`; none keeps state.
"""

from data2vec.masking.blocks import block_masks
from data2vec.masking.frames import FrameMaskConfig, sample_frame_masks
from data2vec.masking.images import (
    IMAGE_SAMPLERS,
    ImageMaskConfig,
    beit_block_masks,
    block_masks_2d,
    sample_image_masks,
)
from data2vec.masking.sequences import block_masks_1d, random_masks, span_masks
from data2vec.masking.tokens import TokenMasks, corrupt_tokens, token_masks

__all__ = [
    "IMAGE_SAMPLERS",
    "FrameMaskConfig",
    "ImageMaskConfig",
    "TokenMasks",
    "beit_block_masks",
    "block_masks",
    "block_masks_1d",
    "block_masks_2d",
    "corrupt_tokens",
    "random_masks",
    "sample_frame_masks",
    "sample_image_masks",
    "span_masks",
    "token_masks",
]
