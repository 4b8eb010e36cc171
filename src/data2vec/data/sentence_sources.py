"""Sets of labelled sentences in the table of data sets: GLUE, two embedded tasks, and your own.

Licences as stated beside the data or by the benchmark (Wang et al., GLUE, 2018).
"""

from __future__ import annotations

from data2vec.data.origin import GIB, Download, MirrorCopy, Source

_ADDRESS = "https://dl.fbaipublicfiles.com/glue/data"
_GLUE = "A. Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform, ICLR 2019"


def _glue(
    name: str,
    title: str,
    licence: str,
    items: tuple[tuple[str, int], ...],
    citation: str,
    download: tuple[str, int] | None,
    mirror: tuple[str, str] | None = None,
    limit: int = GIB,
) -> Source:
    """One task of GLUE. `download`: file name and bytes; `mirror`: file name and checksum."""
    where = f"{_ADDRESS}/{download[0]}" if download else "https://gluebenchmark.com/tasks (download_glue_data.py)"
    wanted = Download(download[0], (f"{_ADDRESS}/{download[0]}",), download[1], None) if download else None
    return Source(
        name=name,
        modality="text",
        kind="sentences",
        title=f"{title} (GLUE)",
        licence=licence,
        citation=f"{citation}; {_GLUE}",
        by_hand=f"fetch it from {where}, or unpack it to FOLDER with the official .tsv files",
        download=wanted,
        mirror=MirrorCopy("glue", ((mirror[0], f"sha256:{mirror[1]}"),)) if mirror else None,
        items=items,
        unpacked_limit=limit,
    )


def _made(name: str, title: str, note: str) -> Source:
    return Source(
        name=name,
        modality="text",
        kind="sentences",
        title=title,
        licence="PSF License Agreement; made from the documentation that comes with Python",
        citation="Python Software Foundation, The Python Language Reference and Library Reference",
        by_hand="made from the documentation that comes with Python",
        note=note,
    )


SENTENCES = (
    _glue(
        "cola",
        "CoLA, acceptability of sentences",
        "for research, see nyu-mll.github.io/CoLA",
        (("train", 8_551), ("valid", 1_043), ("test", 1_063)),
        "A. Warstadt et al., Neural Network Acceptability Judgments, TACL 2019",
        ("CoLA.zip", 376_971),
        ("CoLA.zip", "a5349c8dae00792f415e670737b712ff756accfff7c11e220be675b226dfde76"),
    ),
    _glue(
        "sst2",
        "SST-2, sentiment of film reviews",
        "none stated; cite Socher et al. 2013",
        (("train", 67_349), ("valid", 872), ("test", 1_821)),
        "R. Socher et al., Recursive Deep Models for Semantic Compositionality, EMNLP 2013",
        ("SST-2.zip", 7_439_277),
        ("SST-2.zip", "3708f7a70752323d86c753ba419be63b4a1ceb1333c9d64337d167cdc70ce4f4"),
    ),
    _glue(
        "mrpc",
        "MRPC, paraphrases in news",
        "Microsoft Shared Source licence, research use",
        (("train", 3_668), ("valid", 408), ("test", 1_725)),
        "W. Dolan and C. Brockett, Automatically Constructing a Corpus of Sentential Paraphrases, IWP 2005",
        None,
        ("MRPC.zip", "1f5ed2d9bd80260a98b0e13082c2fc1412c40a735add92857f014af3f7bdbe02"),
    ),
    _glue(
        "stsb",
        "STS-B, similarity of sentences",
        "scores CC BY-SA 4.0, texts as listed in its LICENSE.txt",
        (("train", 5_749), ("valid", 1_500), ("test", 1_379)),
        "D. Cer et al., SemEval-2017 Task 1, 2017",
        ("STS-B.zip", 802_872),
        ("STS-B.zip", "f69136b8d5bfc162b63a784659a2775fe0f34b9c607455d0357bbc4297ad26ca"),
    ),
    _glue(
        "qqp",
        "QQP, duplicate questions",
        "Quora's terms of service, non-commercial",
        (("train", 363_846), ("valid", 40_430), ("test", 390_965)),
        "S. Iyer et al., First Quora Dataset Release: Question Pairs, 2017",
        ("QQP-clean.zip", 41_696_084),
    ),
    _glue(
        "mnli",
        "MNLI, inference across genres",
        "OANC and others, see the MultiNLI paper",
        (
            ("train", 392_702),
            ("valid", 9_815),
            ("valid_mismatched", 9_832),
            ("test", 9_796),
            ("test_mismatched", 9_847),
        ),
        "A. Williams et al., A Broad-Coverage Challenge Corpus for Sentence Understanding, NAACL 2018",
        ("MNLI.zip", 312_783_507),
        ("MNLI.zip", "0618f4175e3bb28e2a02bdf4ce86979a94ca691149d36b24aee0c21a3386d05b"),
        limit=4 * GIB,
    ),
    _glue(
        "qnli",
        "QNLI, whether a sentence answers a question",
        "CC BY-SA 4.0 (from SQuAD)",
        (("train", 104_743), ("valid", 5_463), ("test", 5_463)),
        "P. Rajpurkar et al., SQuAD, EMNLP 2016",
        ("QNLIv2.zip", 10_627_589),
        ("QNLI.zip", "e024749e19351ce756d93c579dbe0c1ee38059cd52a56f737bf5cc7aef5c7cf8"),
    ),
    _glue(
        "rte",
        "RTE, inference in news and encyclopedia",
        "those of RTE 1, 2, 3 and 5",
        (("train", 2_490), ("valid", 277), ("test", 3_000)),
        "I. Dagan et al., The PASCAL Recognising Textual Entailment Challenge, 2006",
        ("RTE.zip", 697_150),
    ),
    _glue(
        "wnli",
        "WNLI, what pronouns refer to",
        "CC BY 4.0 (Winograd Schema Challenge)",
        (("train", 635), ("valid", 71), ("test", 146)),
        "H. Levesque et al., The Winograd Schema Challenge, 2012",
        ("WNLI.zip", 28_999),
        ("WNLI.zip", "7494df8f04cf3624056677902917bcdcc3770b4cf83a2bf22561f5acf170282f"),
    ),
    _glue(
        "diagnostic",
        "the diagnostic set, predicted by MNLI's model",
        "none stated",
        (("test", 1_104),),
        "A. Wang et al., GLUE, 2018",
        ("AX.tsv", 222_257),
        ("diagnostic.zip", "3934b7ec78f0ad69d852a6531210fd0d31c32d061e8ab0127b661b153f48e535"),
    ),
    _made(
        "word-order",
        "Is the order of words intact?",
        "A task made for the embedded scale, not a published one. Every sentence stands there twice, once intact and "
        "once with its words in another order: a bag of words is at chance.",
    ),
    _made(
        "pair-order",
        "Do two neighbouring sentences stand in their order?",
        "A task made for the embedded scale, not a published one. Every pair stands there twice, once in its order "
        "and once the other way round: a bag of the pair's words is at chance.",
    ),
    Source(
        name="sentences",
        modality="text",
        kind="sentences",
        title="your own labelled sentences",
        licence="that of your sentences",
        citation="",
        by_hand="put train.tsv, valid.tsv and perhaps test.tsv into FOLDER: UTF-8, columns divided by tabs, a header "
        "with `text`, for pairs `text2`, and `label` (classes) or `score` (numbers)",
    ),
)
