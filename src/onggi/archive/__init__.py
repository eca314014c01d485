"""Reads and writes trees as tar streams, by directory descriptor, inside confined jobs.

Imports the standard library and ``kernel`` only, because the launcher's forks run it. Names and links are
``bytes`` throughout: an archive owes nobody valid text.
"""
