"""Small images, archives and folders, made on the spot."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image


def encoded_image(seed: int, size: tuple[int, int] = (32, 32), mode: str = "RGB", format: str = "JPEG") -> bytes:
    """A smooth random picture of (width, height), encoded."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(stream, format)
    return stream.getvalue()


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """A tar (any compression) or zip archive of these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """The same files in a folder."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tree(root: Path) -> list[tuple[str, int, int]]:
    """Everything under a folder: path, size, time of change."""
    return sorted((str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*"))


def tone(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Path:
    """A noisy tone; the ending of the name decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.05, (len(t), channels))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * t)[:, None] + noise, rate)
    return path


def tones(root: Path, *names: str) -> Path:
    """A folder of short tones with these names."""
    for name in names:
        tone(root / name, 0.1)
    return root


def table(folder: Path, split: str) -> list[dict[str, str]]:
    """The rows of a prepared table."""
    with (folder / f"{split}.csv").open(errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))
