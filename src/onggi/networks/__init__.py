"""The nouns of ``docker network``: networks, the endpoints of containers on them, addresses, ports and names.

May import ``store``, ``kernel`` and ``errors``; never ``containers`` or ``api``.
"""
