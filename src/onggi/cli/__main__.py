"""``python -m onggi.cli``."""

import sys

from onggi.cli.main import main

sys.exit(main(sys.argv[1:]))
