"""`python -m deploy` is `twist`."""

import sys

from deploy.cli import main

sys.exit(main())
