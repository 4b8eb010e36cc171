"""A stand-in for `python -m data2vec`: writes what the real commands declare, in milliseconds.

Training counts to UPDATES and saves its count after every update, so that resuming can be seen. It fails once
at each update in the file `fail_at`; every update takes the seconds in the file `step_seconds`.
"""

import json
import os
import sys
import time
from pathlib import Path

from data2vec.papers import read_papers

UPDATES = 8


def numbers(name: str) -> list[float]:
    path = Path(name)
    return [float(word) for word in path.read_text().split()] if path.exists() else []


def save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def train(run_dir: Path, words: dict[str, str]) -> None:
    began = time.time()
    state = run_dir / "checkpoint" / "state.pt"
    trail = json.loads(state.read_text()) if state.exists() else []
    print(f"device {os.environ.get('CUDA_VISIBLE_DEVICES')} start at {len(trail)}", flush=True)
    save(run_dir / "config.yaml", json.dumps(words))
    for update in range(len(trail), UPDATES):
        failures = numbers("fail_at")
        if update in failures:
            Path("fail_at").write_text(" ".join(str(n) for n in failures if n != update))
            sys.exit(f"the loss is not finite at update {update}")
        time.sleep(sum(numbers("step_seconds")))
        trail.append(os.getpid())
        save(state, json.dumps(trail))
    save(run_dir / "provenance.json", json.dumps({"processes": len(set(trail)), "began": began, "ended": time.time()}))
    save(run_dir / "checkpoint" / "model.safetensors", f"weights after {len(trail)} of {json.dumps(words)}")
    save(run_dir / "masked.npz", "")


def metrics(path: Path, **rows: float) -> None:
    save(
        path,
        json.dumps({"rows": [{"metric": k, "value": v, "unit": "%", "dataset": "x"} for k, v in rows.items()]}),
    )


def main(command: str, words: dict[str, str]) -> None:
    with Path("commands.txt").open("a") as file:
        file.write(f"{command} {' '.join(f'{k}={v}' for k, v in words.items())}\n")
    if command == "prepare":
        save(Path(words["data_dir"]) / words["data"] / "manifest.json", json.dumps({"name": words["data"]}))
    elif command == "import":
        folder = Path(words["run_dir"])
        assert not folder.exists(), "the real command refuses a folder that holds anything"
        save(folder / "config.yaml", json.dumps(words))
        save(folder / "provenance.json", json.dumps({"licence": words["licence"]}))
        save(folder / "checkpoint" / "model.safetensors", Path(words["file"]).read_text())
    elif command in ("pretrain", "finetune"):
        run_dir = Path(words["run_dir"])
        train(run_dir, words)
        metrics(run_dir / "metrics.json", loss=1.0)
    elif command == "evaluate":
        assert (Path(words["run_dir"]) / "config.yaml").exists()
        metrics(Path(words["out"]), linear_top1=50.0)
    elif command == "report" and "paper" in words:
        for file in read_papers(Path("config/papers.yaml"))[words["paper"]].files:
            save(Path(words["reports"]) / "papers" / file, words["paper"])
    elif command == "report":
        reports = Path(words["reports"])
        files = sorted(Path(words["results"], words["scale"]).rglob("metrics.json"))
        save(reports / "results.csv", "file\n" + "".join(f"{f}\n" for f in files))
        save(reports / "index.html", f"<!doctype html><title>stub</title><p>{len(files)} files")
        save(reports / "claims.md", "# stub")
        save(reports / "tables" / "main.html", "<table><tr><td>50.0</td></tr></table>")
        save(reports / "figures" / "loss.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
    elif command == "plan":
        save(Path(words["out"]), "kind\n")
        save(Path(words["out"]).with_suffix(".md"), "# plan\n")
    else:
        sys.exit(f"unknown command {command}")


if __name__ == "__main__":
    main(sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:]))
