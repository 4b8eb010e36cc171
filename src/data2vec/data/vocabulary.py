"""The vocabulary of a text data set: SentencePiece BPE between the special tokens and <mask>."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from data2vec.errors import UserError

BOS, PAD, EOS, UNK = 0, 1, 2, 3
WORDS = 4
"""Id of the first piece; <mask> has the last id."""

FILE = "vocabulary.model"
SAMPLE_BYTES = 8 * 2**20
"""About as much text is enough to learn the pieces from."""


class Vocabulary:
    """Ids: <s> 0, <pad> 1, </s> 2, <unk> 3, pieces, and <mask> last."""

    def __init__(self, model: bytes) -> None:
        """`model` is the content of a SentencePiece model file with these special ids."""
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.mask_id: int = self.processor.get_piece_size()
        self.size = self.mask_id + 1

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a prepared data set."""
        return cls((folder / FILE).read_bytes())

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of each sentence, without special tokens."""
        return self.processor.encode(list(sentences))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text of each id; a word's first piece begins with U+2581."""
        return ["<mask>" if i == self.mask_id else self.processor.id_to_piece(i) for i in ids]


def train_vocabulary(sentences: Iterable[str], size: int) -> bytes:
    """A SentencePiece model with `size` tokens, <mask> included; the same sentences give the same bytes.

    Raises:
        UserError: the text is too short for so many tokens, or has more characters than that.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size - 1,
            bos_id=BOS,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:  # "Vocabulary size too high", "... is smaller than required_chars"
        reason = str(error).rpartition("] ")[2].strip() or str(error)
        raise UserError(f"data.vocab_size = {size} does not suit this text: {' '.join(reason.split())}") from None
    return model.getvalue()
