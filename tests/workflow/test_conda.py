"""`--use-conda` runs every command in the one environment; told with a stand-in for conda, which no test can install.

The stand-in answers what Snakemake asks (version, prefix, channel priority), makes an environment whose `python` notes
that it was called, and activates it as conda does: by putting its `bin` first on PATH.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

CONDA = """\
#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
base = pathlib.Path({base!r})
with (base / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
if words[:2] == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": str(base), "platform": "linux-64"}}))
elif words == ["--version"]:
    print("conda 25.9.1")
elif words[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif words[:2] == ["env", "create"]:
    prefix = pathlib.Path(words[words.index("--prefix") + 1])
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin" / "python"
    python.write_text("#!/bin/sh\\necho \\"$@\\" >> " + str(base / "python.txt") + "\\nexec {python} \\"$@\\"\\n")
    python.chmod(0o755)
elif words[0] != "clean":
    sys.exit(f"not known to the stand-in: {{words}}")
"""


def make_conda(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    conda = folder / "bin" / "conda"
    conda.write_text(CONDA.format(python=sys.executable, base=str(folder)))
    (folder / "bin" / "activate").write_text('export PATH="$1/bin:$PATH" CONDA_PREFIX="$1"\n')
    conda.chmod(0o755)


def test_every_command_runs_in_the_one_environment(project: Any, tmp_path: Path) -> None:
    base = tmp_path / "conda"
    make_conda(base)
    words = ["all", "plan", "--cores", "2", "--use-conda", "--config", "modalities=[vision]", "experiments=[]"]
    done = project.snakemake(*words, PATH=str(base / "bin") + os.pathsep, PYTHONPATH="/not/ours")
    assert done.returncode == 0, done.stdout
    calls = [json.loads(line) for line in (base / "calls.jsonl").read_text().splitlines()]
    created = [call for call in calls if call[:2] == ["env", "create"]]
    assert len(created) == 1
    file = Path(created[0][created[0].index("--file") + 1])
    assert file.read_text() == (project.path / "environment.yml").read_text()
    started = (base / "python.txt").read_text().splitlines()
    jobs, commands = (
        [line for line in started if line.startswith(f"-m {name}")] for name in ("data2vec.job", "data2vec ")
    )
    stages = {line.split()[2] for line in commands}
    assert stages == {"prepare", "pretrain", "evaluate", "finetune", "report", "plan"}
    assert len(jobs) == len(commands) == len(project.commands())
