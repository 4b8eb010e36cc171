"""The layouts of published corpora with transcripts or speakers: AN4, LibriSpeech, Libri-light's subsets, YESNO."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data2vec.data.recordings import Corpus, Recording, Skipped, audio_files, text_lines, with_extension
from data2vec.errors import UserError

# Of AN4's training speakers, these are kept apart for validation: 3 female, 5 male, 104 utterances.
AN4_VALID_SPEAKERS = frozenset("fbbh fmjc fmjd mewl mjjs2 mmdg mmkw mtos".split())
LIBRISPEECH_PARTS = (
    *("train-clean-100", "train-clean-360", "train-other-500"),
    *("dev-clean", "dev-other", "test-clean", "test-other"),
)
# The labelled subsets of Libri-light (Kahn et al. 2020, section 3): the ten-minute sets are the sixths of the hour,
# and ten hours are the hour and nine more.
LIBRILIGHT_PARTS = {"10min": ("1h/0",), "1h": ("1h",), "10h": ("1h", "9h")}
YESNO_TRAIN, YESNO_VALID = 40, 5


def scan_an4(root: Path) -> Corpus:
    """AN4: `etc/an4_<part>.fileids`, `etc/an4_<part>.transcription` and the audio under `wav/`."""
    found = Corpus()
    for split in ("train", "test"):
        listing, spoken = root / "etc" / f"an4_{split}.fileids", root / "etc" / f"an4_{split}.transcription"
        if not listing.is_file():
            continue
        names = listing.read_text(encoding="utf-8", errors="surrogateescape").split()
        lines = list(text_lines(spoken))
        if len(names) != len(lines):
            raise UserError(f"{listing} names {len(names)} utterances, {spoken.name} transcribes {len(lines)}")
        for name, (line, is_utf8) in zip(names, lines, strict=True):
            text = re.match(r"(?:<s>)?(.*?)(?:</s>)?\s*\((\S+)\)\s*$", line)
            if text is None or text[2] != name.rpartition("/")[2]:
                raise UserError(f"{spoken}: {line!r} is not the transcript of {name}: expected `<s> WORDS </s> (name)`")
            speaker = name.split("/")[-2]
            part = "valid" if split == "train" and speaker in AN4_VALID_SPEAKERS else split
            path = with_extension(root, f"wav/{name}")
            found.add(Recording(part, path, speaker, text[1].strip().upper()), is_utf8)
    if not found.recordings:
        raise UserError(f"{root} is not AN4: no etc/an4_train.fileids in it")
    return found


def scan_librispeech(root: Path) -> Corpus:
    """LibriSpeech: `<part>/<speaker>/<chapter>/<utterance>.flac`; every part is a split of its own."""
    found = Corpus()
    for texts in sorted(root.rglob("*.trans.txt")):
        if (part := texts.parts[-4]) in LIBRISPEECH_PARTS:
            _add_chapter(found, root, texts, part)
    if not found.recordings:
        raise UserError(
            f"{root} is not LibriSpeech: expected <part>/<speaker>/<chapter>/*.flac and *.trans.txt below it, "
            f"with parts called {', '.join(LIBRISPEECH_PARTS)}"
        )
    return found


def scan_librilight(root: Path, subset: str) -> Corpus:
    """A labelled subset of Libri-light as the split train, and the parts dev and test of a LibriSpeech beside it.

    The archive holds `1h/<0..5>/{clean,other}` and `9h/{clean,other}`, below them speakers and chapters as in
    LibriSpeech.
    """
    base = root / "librispeech_finetuning" if (root / "librispeech_finetuning").is_dir() else root
    found = Corpus()
    for part in LIBRILIGHT_PARTS[subset]:
        before = len(found.recordings)
        for texts in sorted((base / part).rglob("*.trans.txt")):
            _add_chapter(found, root, texts, "train")
        if len(found.recordings) == before:
            raise UserError(
                f"{root} holds no {part}/ of librispeech_finetuning: expected {part}/.../{{clean,other}}/<speaker>/"
                "<chapter>/*.flac and *.trans.txt in it"
            )
    for part in LIBRISPEECH_PARTS[3:]:
        for texts in sorted(root.glob(f"LibriSpeech/{part}/*/*/*.trans.txt")):
            _add_chapter(found, root, texts, part)
    return found


def _add_chapter(found: Corpus, root: Path, texts: Path, split: str) -> None:
    """The utterances of one `<speaker>-<chapter>.trans.txt`, and what lies beside it unnamed."""
    chapter = texts.parent
    named = set()
    for line, is_utf8 in text_lines(texts):
        name, _, text = line.partition(" ")
        if name:
            named.add(name)
            path = (chapter / f"{name}.flac").relative_to(root).as_posix()
            found.add(Recording(split, path, chapter.parts[-2], text.strip()), is_utf8)
    _skip_unnamed(found, root, (path for path in chapter.glob("*.flac") if path.stem not in named), texts)


def _skip_unnamed(found: Corpus, root: Path, paths: Iterable[Path], texts: Path) -> None:
    for path in sorted(paths):
        found.skipped.append(Skipped(path.relative_to(root).as_posix(), f"{texts.name} has no transcript of it"))


def scan_yesno(root: Path) -> Corpus:
    """YESNO: `<eight 0 or 1 joined by _>.wav`, 1 for YES and 0 for NO, one speaker.

    There is no official split. The names, shuffled the same way always, give 40 for train, 5 for valid, 15 for test. In
    their own order all that begin with YES YES would be held out, and none of those learnt from would begin so.
    """
    found = Corpus()
    spoken = []
    for path in audio_files(root):
        words = Path(path).stem.split("_")
        if set(words) <= {"0", "1"}:
            spoken.append((path, " ".join("YES" if word == "1" else "NO" for word in words)))
        else:
            found.skipped.append(Skipped(path, "its name is not of 0 and 1 joined by _"))
    if not spoken:
        raise UserError(f"{root} is not YESNO: no files such as 0_1_0_0_1_0_1_1.wav in it")
    for place, i in enumerate(np.random.default_rng(0).permutation(len(spoken))):
        split = "train" if place < YESNO_TRAIN else "valid" if place < YESNO_TRAIN + YESNO_VALID else "test"
        found.recordings.append(Recording(split, spoken[i][0], "speaker", spoken[i][1]))
    return found
