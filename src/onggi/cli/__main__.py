"""``python -m onggi.cli``."""

from onggi.cli.main import entry

entry()
