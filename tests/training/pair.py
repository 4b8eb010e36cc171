"""One of two processes that run the same commands of the library together: pair.py RANK FILE.

FILE is JSON: for each command a port, the words, and what happens to this rank (signal or death after update 3). The
exit codes and messages are written beside it.
"""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

from data2vec.cli import main
from data2vec.methods.data2vec2 import Data2Vec2

rank, file = sys.argv[1], Path(sys.argv[2])
update_teacher = Data2Vec2.update_teacher
results = []
for case in json.loads(file.read_text()):
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(case["port"])}
    moves: list[int] = []
    event = case["events"].get(rank, "")

    def move(self: Data2Vec2, decay: float, event: str = event, moves: list[int] = moves) -> None:
        update_teacher(self, decay)
        moves.append(1)
        if len(moves) == 3 and event:
            if event == "death":
                os._exit(9)
            os.kill(os.getpid(), getattr(signal, event))

    Data2Vec2.update_teacher = move  # type: ignore[method-assign]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(case["words"])
    results.append({"code": code, "said": said.getvalue()})
    file.with_suffix(f".{rank}").write_text(json.dumps(results))
