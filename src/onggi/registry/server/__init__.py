"""A registry's side of the OCI distribution protocol, version 1.1, as pure logic: calls in, answers out.

No sockets and no files here: HTTP is brought by ``api``, the bytes lie behind ``storage.Storage``.
"""
