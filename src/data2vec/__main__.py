"""`python -m data2vec COMMAND key=value ...`."""

import sys
import threading

from data2vec.cli import DISK_ERRORS, main


def report_thread_error(problem: threading.ExceptHookArgs) -> None:
    """Print the error of a thread, as Python does, but not that of a disk that cannot be written.

    The thread that writes for TensorBoard hands its error to the loop, which ends the command with one line.
    """
    if not (isinstance(problem.exc_value, OSError) and problem.exc_value.errno in DISK_ERRORS):
        threading.__excepthook__(problem)


if __name__ == "__main__":
    threading.excepthook = report_thread_error
    sys.exit(main(sys.argv[1:]))
