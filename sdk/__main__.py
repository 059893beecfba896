"""``python -m sdk …`` and the command ``labrador``."""

import sys

from sdk.cli import main

if __name__ == "__main__":
    sys.exit(main())
