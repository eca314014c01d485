"""The ``onggi-runtime`` command: the runtime room from the command line, as OCI's callers expect it."""
