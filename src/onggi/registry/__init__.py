"""The OCI distribution protocol, client and server; stores nothing itself.

May import ``oci`` and ``errors``. The client blocks and belongs into worker threads.
"""
