"""`python -m milr` is the command `milr`."""

import sys

from milr.cli import main

if __name__ == "__main__":
    sys.exit(main())
