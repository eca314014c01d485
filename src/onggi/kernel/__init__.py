"""Thin, typed, tested wrappers over Linux. This room knows nothing of containers; it imports only ``errors``."""
