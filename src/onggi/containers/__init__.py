"""Life cycle of containers and of the processes executed in them.

May import ``images``, ``store``, ``logs``, ``oci``, ``kernel`` and ``errors``; never ``api``. Everything
that touches a process goes through the ``Runtime`` protocol in ``runtime.py``.
"""
