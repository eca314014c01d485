"""What the OCI image and distribution specs and docker's reference grammar say, as types and pure functions.

May import ``errors``.
"""
