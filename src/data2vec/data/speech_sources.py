"""The speech sets of the table of data sets; docs/data.md lists them with their splits.

Checksums are those that torchaudio's data set classes state, unless said otherwise; where none is published there is
none here, and the manifest says so.
"""

from __future__ import annotations

from data2vec.data.origin import GIB, Download, MirrorCopy, Source

_LIBRILIGHT = Download(
    file="librispeech_finetuning.tgz",
    urls=("https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz",),
    size=GIB,  # of room that is asked for; the exact size is not published
    checksum="sha256:5d1efdc777b548194d7e09ba89126e2188026df9fd57aa57eb14408d2b2342af",
)
_ESC = Download(
    file="ESC-50-master.zip",
    urls=("https://github.com/karoldvl/ESC-50/archive/master.zip",),
    size=GIB,
    checksum=None,
)
_ESC_CITATION = "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015"
_ESC_SPLIT = "Fold 5 is test, the others train; a copy with one fold is split by source recording."


def _librilight(subset: str, amount: str) -> Source:
    return Source(
        name=f"librilight-{subset}",
        modality="speech",
        kind="folder",
        title=f"Libri-light, the {amount} with transcripts",
        licence="CC BY 4.0 (LibriSpeech)",
        citation="J. Kahn et al., Libri-Light: A Benchmark for ASR with Limited or No Supervision, ICASSP 2020",
        by_hand=f"fetch {_LIBRILIGHT.urls[0]} and unpack it to FOLDER, beside FOLDER/LibriSpeech/dev-other",
        download=_LIBRILIGHT,
        note="Train only; the parts dev and test of a LibriSpeech in the same data.path are further splits.",
        unpacked_limit=4 * GIB,
    )


SPEECH = (
    Source(
        name="espeak",
        modality="speech",
        kind="embedded",
        title="commands spoken by espeak-ng",
        licence="none claimed on the speech; espeak-ng, which makes it, is under the GPL 3 or later",
        citation="eSpeak NG, https://github.com/espeak-ng/espeak-ng",
        by_hand="install the package espeakng-loader",
        note="Synthetic: VERB THE COLOUR OBJECT TO DIGIT. Speakers and sentences of the splits are disjoint.",
    ),
    Source(
        name="an4",
        modality="speech",
        kind="folder",
        title="AN4 (CMU Census)",
        licence="CMU AN4 licence: free for any purpose, redistribution with the notice kept",
        citation="A. Acero, Acoustical and Environmental Robustness in Automatic Speech Recognition, CMU, 1990",
        by_hand="fetch an4_sphere.tar.gz from http://www.speech.cs.cmu.edu/databases/an4/ and unpack it to FOLDER",
        download=Download(
            file="an4_sphere.tar.gz",
            urls=("http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz",),
            size=64_327_561,
            checksum=None,
        ),
        mirror=MirrorCopy(
            folder="an4",
            files=(
                (
                    "an4-train.tar.gz",
                    "sha256:81fbc76d17c42654a58074b551899db263d1fcb2a885ad4b5fcdba173cdf305e",
                ),
            ),
        ),
        note="Eight of the training speakers are the split valid.",
        unpacked_limit=GIB,
    ),
    Source(
        name="librispeech",
        modality="speech",
        kind="folder",
        title="LibriSpeech",
        licence="CC BY 4.0",
        citation="V. Panayotov et al., LibriSpeech: an ASR corpus based on public domain audio books, ICASSP 2015",
        by_hand="fetch the parts, such as dev-clean.tar.gz, from https://www.openslr.org/12 to FOLDER, unpacked or not",
        mirror=MirrorCopy(
            folder="librispeech-5",
            files=(
                (
                    "librispeech-5.tar.gz",
                    "sha256:656604b79900ece3d69e724274a87176a3bbb8476297d863875179165997415c",
                ),
            ),
        ),
        archives=(
            ("dev-clean.tar.gz", "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
            ("dev-other.tar.gz", "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
            ("test-clean.tar.gz", "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
            ("test-other.tar.gz", "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
            ("train-clean-100.tar.gz", "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
            ("train-clean-360.tar.gz", "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
            ("train-other-500.tar.gz", "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
        ),
        note="Every part that is there is a split; train stands for all of train-clean-100, -360 and train-other-500.",
        unpacked_limit=200 * GIB,
    ),
    _librilight("10min", "10 minutes"),
    _librilight("1h", "hour"),
    _librilight("10h", "10 hours"),
    Source(
        name="yesno",
        modality="speech",
        kind="folder",
        title="YESNO",
        licence="none stated by its authors",
        citation="OpenSLR 1, made for Kaldi",
        by_hand="fetch waves_yesno.tar.gz from https://www.openslr.org/1 and unpack it to FOLDER",
        download=Download(
            file="waves_yesno.tar.gz",
            urls=("http://www.openslr.org/resources/1/waves_yesno.tar.gz",),
            size=5_000_000,
            checksum="sha256:c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73",
        ),
        mirror=MirrorCopy(
            folder="yesno",
            files=(
                (
                    "waves_yesno.tar.xz",
                    "sha256:4f7853a135923845bdd596b58ad4398b6f3b63442645f2fea67987cd142d90be",
                ),
            ),
        ),
        note="No official split: of the 60 names in order, 40 are train, the next 5 valid, the last 15 test.",
        unpacked_limit=GIB,
    ),
    Source(
        name="fsdd",
        modality="speech",
        kind="folder",
        title="Free Spoken Digit Dataset",
        licence="CC BY-SA 4.0",
        citation="Z. Jackson et al., Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset",
        by_hand="clone https://github.com/Jakobovski/free-spoken-digit-dataset to FOLDER",
        download=Download(
            file="fsdd-26eb9aa.tar.gz",
            urls=(
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
                "26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
            ),
            size=20_000_000,
            checksum=None,  # GitHub packs such archives anew
        ),
        mirror=MirrorCopy(
            folder="fsdd",
            files=(("fsdd.tar.gz", "sha256:c38efae799382598129ed78b8a1b0e6cf6c6fbae06aa620fbcf3b229c344dd28"),),
        ),
        note="Recordings 0 to 4 of each digit and speaker are the official test part.",
        unpacked_limit=GIB,
    ),
    Source(
        name="speechcommands",
        modality="speech",
        kind="folder",
        title="Speech Commands v0.02",
        licence="CC BY 4.0",
        citation="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018",
        by_hand="fetch http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz and unpack it to FOLDER",
        download=Download(
            file="speech_commands_v0.02.tar.gz",
            urls=("http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",),
            size=2_500_000_000,
            checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
        note="Valid and test are the official lists; the background noises are left out.",
        unpacked_limit=8 * GIB,
    ),
    Source(
        name="esc50",
        modality="speech",
        kind="folder",
        title="ESC-50",
        licence="CC BY-NC 3.0",
        citation=_ESC_CITATION,
        by_hand="clone https://github.com/karolpiczak/ESC-50 to FOLDER",
        download=_ESC,
        note=_ESC_SPLIT,
        unpacked_limit=2 * GIB,
    ),
    Source(
        name="esc10",
        modality="speech",
        kind="folder",
        title="ESC-10, the ten-class part of ESC-50",
        licence="CC BY 3.0",
        citation=_ESC_CITATION,
        by_hand="clone https://github.com/karolpiczak/ESC-50 to FOLDER",
        download=_ESC,
        mirror=MirrorCopy(
            folder="esc10-fold4",
            files=(("esc10-fold4.tar.gz", "sha256:3f4383b3c79ffe4111c654de2a54a0dccd48de79ca72510bf648c59274cabf61"),),
        ),
        note=_ESC_SPLIT,
        unpacked_limit=2 * GIB,
    ),
    Source(
        name="audioset",
        modality="speech",
        kind="folder",
        title="AudioSet",
        licence="labels CC BY 4.0; the clips belong to those who published them",
        citation="J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset for audio events, ICASSP 2017",
        by_hand=(
            "put the lists balanced_train_segments.csv, eval_segments.csv and class_labels_indices.csv of "
            "https://research.google.com/audioset and your clips, <video>.wav, into FOLDER"
        ),
        note="The clips that exist are used; manifest and log say how many of the lists' that is.",
    ),
    Source(
        name="audiofolder",
        modality="speech",
        kind="folder",
        title="a folder of recordings",
        licence="that of your recordings",
        citation="",
        by_hand="put your .flac or .wav files into FOLDER, or into FOLDER/train, FOLDER/valid and FOLDER/test",
    ),
)
