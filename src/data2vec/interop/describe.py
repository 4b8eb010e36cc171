"""`python -m data2vec describe`: what a checkpoint is, on one screen."""

from pathlib import Path

from data2vec.interop.card import facts
from data2vec.interop.load import open_checkpoint


def describe(path: Path) -> str:
    """One line per fact. Raises UserError if the checkpoint cannot be read."""
    return (
        "\n".join([str(path), *(f"  {name:14} {text}" for name, text in facts(open_checkpoint(path)).items())]) + "\n"
    )
