"""docker's frames of streams that share a connection. Imports nothing: commands and forks load it.

Frame: stream type, three zero bytes, length as big-endian uint32 (Docker Engine API, "Stream format"). Types
1 and 2 are standard output and error (0, echoed standard input, counts as output); 3 is an error of the
engine itself; 4 and 5 are private to ``/onggi/v1``: JSON status, last (4) and first (5).
"""

STDOUT, STDERR, SYSTEM_ERROR, FINAL_STATUS, EARLY_STATUS = 1, 2, 3, 4, 5
HEADER = 8  # bytes in front of a payload


def frame(kind: int, payload: bytes) -> bytes:
    """``payload`` behind its header."""
    return bytes((kind, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload
