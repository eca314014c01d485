"""The nouns of ``docker volume``: create, list, inspect, remove, prune; and what containers hold of them.

May import ``store``, ``archive``, ``kernel`` and ``errors``; never ``containers`` or ``api``.
"""
