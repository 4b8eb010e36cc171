"""`python -m data2vec.launch [torchrun's options] -- COMMAND key=value ...`: a command in several processes.

Beside torchrun itself: the processes get SIGTERM, SIGINT and SIGUSR1 from the launcher and have all the time they need
to save (torchrun alone kills them after 30 s), and the exit code is theirs.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def main(words: list[str]) -> int:
    """Exit code of the first process that failed, or 0."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    at = words.index("--")
    for number in STOP:
        signal.signal(number, _pass_on)
    try:
        # of the signals that torchrun would answer by ending the processes, only SIGQUIT is left to it
        run.main([*words[:at], "--signals-to-handle", "SIGQUIT", "-m", "data2vec", *words[at + 1 :]])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


def _pass_on(number: int, _frame: FrameType | None) -> None:
    """Send a signal to the processes that this one started (Linux)."""
    for thread in Path("/proc/self/task").iterdir():
        for child in (thread / "children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
