"""The table of data sets: where each comes from, its licence, and how to get it by hand.

One row is one data set of any modality; `data.name=` picks a row. Speech sets and sets of labelled
sentences have modules of their own.
"""

from __future__ import annotations

import difflib

from data2vec.data.origin import GIB, Download, MirrorCopy, Source
from data2vec.data.sentence_sources import SENTENCES
from data2vec.data.speech_sources import SPEECH
from data2vec.errors import UserError

__all__ = ["SOURCES", "Download", "MirrorCopy", "Source", "find_source"]

_IMAGENET_TERMS = "ImageNet terms: non-commercial research and education only; not redistributed here"

_WIKITEXT_S3 = "https://s3.amazonaws.com/research.metamind.io/wikitext"

_TABLE = (
    Source(
        name="digits",
        modality="vision",
        kind="embedded",
        title="8x8 handwritten digits",
        licence="CC BY 4.0 (UCI Machine Learning Repository); the copy in scikit-learn",
        citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
        by_hand="comes with scikit-learn",
        note="Grey levels 0..16 scaled to 0..255 and repeated in three channels; stratified split, seed 0.",
    ),
    Source(
        name="cifar10",
        modality="vision",
        kind="packed",
        title="CIFAR-10",
        licence="none stated by its authors",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        by_hand="fetch cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
        download=Download(
            file="cifar-10-python.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            size=170_498_071,
            checksum="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
        mirror=MirrorCopy(
            folder="cifar10",
            files=(
                (
                    "cifar10-train.tar.xz",
                    "sha256:7002a811dacc3e51311b2c1278ff23ea01067f99a8a9dece09225dddc27d3b7d",
                ),
                (
                    "cifar10-test.tar.xz",
                    "sha256:41d66ad9bc7682dae733a3d28a9c9aaeeca0bee2f54a698ef5cf8f4eec93f013",
                ),
            ),
        ),
        items=(("train", 50_000), ("test", 10_000)),
        unpacked_limit=GIB,
    ),
    Source(
        name="tiny-imagenet",
        modality="vision",
        kind="packed",
        title="Tiny ImageNet",
        licence=_IMAGENET_TERMS,
        citation="Y. Le and X. Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS231n, 2015",
        by_hand="fetch tiny-imagenet-200.zip from http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        download=Download(
            file="tiny-imagenet-200.zip",
            urls=(
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            ),
            size=248_100_043,
            checksum="sha256:6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        ),
        mirror=MirrorCopy(
            folder="tiny-imagenet-12",
            files=(
                (
                    "tiny-imagenet-12.tar.xz",
                    "sha256:555e44c5bf3927cc4d964077a49fe7b18aca40f92b04507b4807eb1e6d9e86b0",
                ),
            ),
        ),
        items=(("train", 100_000), ("test", 10_000)),
        note="The test split here is the official val; the official test part has no labels and is left out.",
    ),
    Source(
        name="clothing-validation",
        modality="vision",
        kind="folder",
        title="Clothing dataset (small), part of its validation split",
        licence="CC0 1.0",
        citation="A. Grigorev, Clothing dataset, 2020",
        by_hand="fetch the folder validation/ of https://github.com/alexeygrigorev/clothing-dataset-small",
        mirror=MirrorCopy(
            folder="clothing-validation",
            files=(
                (
                    "clothing-validation.tar.gz",
                    "sha256:b42007af41a05fa71460ecc2c07b180b76924ed4a7d0fc6b0f7378175068a5c9",
                ),
            ),
        ),
        unpacked_limit=GIB,
    ),
    Source(
        name="imagenet",
        modality="vision",
        kind="folder",
        title="ImageNet-1K (ILSVRC 2012)",
        licence=_IMAGENET_TERMS,
        citation="O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015",
        by_hand="register at image-net.org, unpack to FOLDER/train/<wnid>/ and FOLDER/val/<wnid>/",
        items=(("train", 1_281_167), ("test", 50_000)),
        note="The test split here is the official val.",
    ),
    Source(
        name="imagefolder",
        modality="vision",
        kind="folder",
        title="a folder of images, one subfolder a class",
        licence="that of your images",
        citation="",
        by_hand="make FOLDER/train/<class>/ and FOLDER/test/<class>/, or just FOLDER/<class>/",
    ),
    *SPEECH,
    Source(
        name="pydoc",
        modality="text",
        kind="embedded",
        title="Python's own documentation: topics of the reference, docstrings of the standard library",
        licence="PSF License Agreement; the copy that comes with Python",
        citation="Python Software Foundation, The Python Language Reference and Library Reference",
        by_hand="comes with Python",
    ),
    Source(
        name="novels",
        modality="text",
        kind="packed",
        title="49 of 100 English Novels",
        licence="public domain (texts); none stated by the collection",
        citation="Computational Stylistics Group, 100 English Novels 1.4",
        by_hand="fetch corpus/ of https://github.com/computationalstylistics/100_english_novels",
        mirror=MirrorCopy(
            folder="novels",
            files=(("novels.tar.xz", "sha256:edeea6eddef39b73c8908e90614f3e93970f4bdda8969eafe5f5139a28c49fbc"),),
        ),
        unpacked_limit=GIB,
    ),
    Source(
        name="wikitext-2",
        modality="text",
        kind="packed",
        title="WikiText-2",
        licence="CC BY-SA 3.0",
        citation="S. Merity et al., Pointer Sentinel Mixture Models, ICLR 2017",
        by_hand="fetch wikitext-2-v1.zip (or wikitext-2-raw-v1.zip) from https://wikitext.smerity.com",
        download=Download(
            file="wikitext-2-v1.zip",
            urls=("https://wikitext.smerity.com/wikitext-2-v1.zip", f"{_WIKITEXT_S3}/wikitext-2-v1.zip"),
            size=4_475_746,
            checksum="md5:542ccefacc6c27f945fb54453812b3cd",
        ),
        mirror=MirrorCopy(
            folder="wikitext-2",
            files=(
                (
                    "wikitext-2-valid-test.tar.xz",
                    "sha256:ea9396bfbe58e78e73cfa00f016af90b05cf2cd25422144929aa88a93fcae8b5",
                ),
            ),
        ),
        unpacked_limit=GIB,
    ),
    Source(
        name="wikitext-103",
        modality="text",
        kind="packed",
        title="WikiText-103",
        licence="CC BY-SA 3.0",
        citation="S. Merity et al., Pointer Sentinel Mixture Models, ICLR 2017",
        by_hand="fetch wikitext-103-v1.zip (or wikitext-103-raw-v1.zip) from https://wikitext.smerity.com",
        download=Download(
            file="wikitext-103-v1.zip",
            urls=("https://wikitext.smerity.com/wikitext-103-v1.zip", f"{_WIKITEXT_S3}/wikitext-103-v1.zip"),
            size=190_229_076,
            checksum="md5:9ddaacaf6af0710eda8c456decff7832",
        ),
        unpacked_limit=GIB,
    ),
    Source(
        name="tinyshakespeare",
        modality="text",
        kind="packed",
        title="tinyshakespeare",
        licence="public domain (text); MIT (the repository that it comes from)",
        citation="A. Karpathy, char-rnn, 2015",
        by_hand="fetch data/tinyshakespeare/input.txt of https://github.com/karpathy/char-rnn into a folder, as a .txt",
        mirror=MirrorCopy(
            folder="tinyshakespeare",
            files=(
                (
                    "tinyshakespeare.tar.xz",
                    "sha256:e29b275304b2c8e8ecbd8f147419f3ae2b672ca13ffb0dda0649491d96fe54d7",
                ),
            ),
        ),
        note="The first 90 % of its paragraphs are train, then 5 % valid, 5 % test.",
        unpacked_limit=GIB,
    ),
    Source(
        name="books-wikipedia",
        modality="text",
        kind="folder",
        title="English Wikipedia and a book corpus, as in the paper (16 GB of text)",
        licence="Wikipedia: CC BY-SA 4.0 and GFDL. BookCorpus: none, its books are their authors' and it is no longer "
        "handed out. Project Gutenberg: public domain in the USA",
        citation="J. Devlin et al., BERT, NAACL 2019; Y. Zhu et al., Aligning Books and Movies, ICCV 2015",
        by_hand="make FOLDER/wikipedia/ (files of WikiExtractor, or .txt, from a dump of https://dumps.wikimedia.org) "
        "and FOLDER/bookcorpus/ (.txt) or, as an open substitute, FOLDER/gutenberg/ (.txt, for instance PG-19)",
        unpacked_limit=2**50,
    ),
    Source(
        name="textfolder",
        modality="text",
        kind="folder",
        title="a folder of text files",
        licence="that of your texts",
        citation="",
        by_hand="put your .txt files (UTF-8, a file a document) into FOLDER, or into FOLDER/train, valid and test",
        unpacked_limit=2**50,
    ),
    *SENTENCES,
)

SOURCES: dict[str, Source] = {source.name: source for source in _TABLE}


def find_source(name: str) -> Source:
    """The row called `name`.

    Raises:
        UserError: there is none; the nearest name is suggested.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else "."
    raise UserError(
        f"unknown data set data.name={name!r}{hint} Known: {', '.join(sorted(SOURCES))}. "
        "For images of your own use data.name=imagefolder data.path=FOLDER, for recordings data.name=audiofolder, "
        "for text data.name=textfolder, for labelled sentences data.name=sentences"
    )
