"""The nouns of ``docker images``: get, list, inspect, import, tag, remove, prune.

May import ``store``, ``oci``, ``kernel`` and ``errors``; never ``containers`` or ``api``.
"""
