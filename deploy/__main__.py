"""`python -m deploy` is `twist`."""

import sys

from deploy.cli import main

if __name__ == "__main__":  # processes that evaluate import the main module once more
    sys.exit(main())
