"""Keeps blobs, layers, snapshots and facts, and removes what nothing refers to.

May import ``kernel``, ``oci``, ``archive`` and ``errors``. See ``layout.py`` for the directories it owns.
"""
