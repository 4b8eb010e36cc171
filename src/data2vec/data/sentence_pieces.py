"""A vocabulary learned from the corpus itself: SentencePiece, as byte pairs ("bpe") or unigram model."""

from __future__ import annotations

import io
from collections.abc import Iterable

from data2vec.data.vocabulary import BOS, EOS, FILE, PAD, UNK, WORDS, Tokenizer
from data2vec.errors import UserError

SAMPLE_BYTES = 8 * 2**20
"""About as much text is enough to learn the pieces from."""


class SentencePieces(Tokenizer):
    """A trained SentencePiece model, whose own ids are the shared ones, and <mask>."""

    def __init__(self, model: bytes) -> None:
        """`model` is the content of a SentencePiece model file with these special ids."""
        import sentencepiece

        self.files = {FILE: model}
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self.processor.get_piece_size() + 1

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens. White space and forms of characters are normalised (NFKC)."""
        return self.processor.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens and <mask> give nothing."""
        return self.processor.decode([int(i) for i in ids if WORDS <= i < self.mask_id])

    def piece(self, id: int) -> str:
        """One token to look at; the first of a word begins with U+2581."""
        return "<mask>" if id == self.mask_id else self.processor.id_to_piece(int(id))


def train_pieces(sentences: Iterable[str], kind: str, size: int) -> SentencePieces:
    """A model of `kind` ("bpe" or "unigram") with `size` ids; the same sentences give the same bytes.

    Raises:
        UserError: the text is too short for so many tokens, or has more characters than that.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=kind,
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
    return SentencePieces(model.getvalue())
