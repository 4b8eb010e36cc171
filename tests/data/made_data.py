"""Small images, archives and folders, made on the spot."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
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
