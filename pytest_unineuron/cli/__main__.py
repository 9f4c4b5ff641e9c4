"""``python -m pytest_unineuron.cli``: the same as ``pytest-unineuron``."""

import sys

from pytest_unineuron.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
