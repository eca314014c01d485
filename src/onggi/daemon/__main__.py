"""``python -m onggi.daemon``."""

import sys

from onggi.daemon.main import main

sys.exit(main(sys.argv[1:]))
