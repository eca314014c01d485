"""The OCI distribution protocol, client and server; stores nothing itself.

May import ``oci`` and ``errors``.
"""
