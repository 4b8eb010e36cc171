"""`python -m data2vec COMMAND key=value ...`."""

import sys

from data2vec.cli import main

sys.exit(main(sys.argv[1:]))
