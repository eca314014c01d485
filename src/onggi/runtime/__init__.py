"""An OCI runtime: config.json -> plan -> process. Standard library only; imports ``kernel``, ``errors``."""
