"""Onggi: a container platform: build, ship, run and isolate."""

__version__ = "0.1.0"
