"""Thin, typed wrappers over Linux. This room knows nothing of containers and imports only ``errors``."""
