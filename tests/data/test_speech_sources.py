"""The table of speech sets beside what is built for them."""

from pathlib import Path

from data2vec.data.audio_preparation import SCANS
from data2vec.data.speech_sources import SPEECH

ROOT = Path(__file__).parents[2]


def test_every_speech_set_has_a_layout_a_configuration_and_a_line_in_the_docs() -> None:
    names = {source.name for source in SPEECH}
    assert names - {"espeak"} == set(SCANS)
    assert all((ROOT / "config" / "run" / "data" / f"{name}.yaml").is_file() for name in names)
    rows = [line for line in (ROOT / "docs" / "data.md").read_text().splitlines() if line.startswith("| `")]
    assert all(any(f"`{name}`" in row.split("|")[1] for row in rows) for name in names)


def test_every_speech_set_states_its_licence_and_how_to_get_it() -> None:
    assert all(source.licence and source.by_hand for source in SPEECH)
    assert all(entry[1].startswith("sha256:") for source in SPEECH for entry in source.archives)
