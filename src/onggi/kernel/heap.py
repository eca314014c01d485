"""The heap of a process that is forked again and again.

Its forks share a page until one of them writes to it, and Python writes to whatever it looks at, since it
counts references.

May import: nothing.
"""

from __future__ import annotations

import gc
import sys

# Python's allocator of small objects (Objects/obmalloc.c): a pool of 16 KiB holds objects of one size.
_SIZES, _POOL_BYTES = range(48, 513, 16), 16384
_BYTES_OVERHEAD = sys.getsizeof(b"")
_MOST_HOLES = 20_000
_fillings: list[list[bytes]] = []


def settle() -> None:
    """Keep what is there now out of the way of forks. Call it when everything is imported."""
    # A collection in a fork would look at every object, and so copy every page.
    gc.collect()
    _fill_holes()
    gc.freeze()


def _fill_holes() -> None:
    """Let what is made from now on lie together.

    What imports have freed are holes between what stayed: each new object of a fork would copy a page of
    its own.
    """
    for size in _SIZES:
        filling = [b""]
        in_a_row = 0
        while in_a_row < _POOL_BYTES // 2 // size and len(filling) < _MOST_HOLES:
            filling.append(bytes(size - _BYTES_OVERHEAD))
            in_a_row = in_a_row + 1 if id(filling[-1]) - id(filling[-2]) == size else 0
        del filling[len(filling) - in_a_row :]
        _fillings.append(filling)
