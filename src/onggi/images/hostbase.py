"""Images that were committed from ``host``: their configuration names the base, with a seal of this store.

Their layers hold only what changed, above the files of one machine: anywhere else they would stand on other
files. The seal also keeps strangers from making an image that shows this machine (rule R12).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Any

from onggi.errors import KernelError, Unsupported
from onggi.kernel.files import write_atomic
from onggi.oci.image import HOST

Json = Any
MEMBER = "dev.onggi.base"
_KEY_BYTES = 32


class Seals:
    """Makes and checks seals with a key that never leaves the data root."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._key = b""

    def member(self, diff_ids: Sequence[str]) -> Json:
        """What the configuration of an image on ``host`` holds under ``MEMBER``. Blocking the first time."""
        return {"name": HOST, "seal": self._seal(diff_ids)}

    def base_of(self, config: Json, diff_ids: Sequence[str]) -> str | None:
        """``host`` or None. Raises Unsupported for an image that stands on another machine's files."""
        claim = config.get(MEMBER)
        if claim is None:
            return None
        seal = claim.get("seal") if isinstance(claim, dict) else None
        if isinstance(seal, str) and hmac.compare_digest(seal.encode(), self._seal(diff_ids).encode()):
            return HOST
        raise Unsupported(
            f"the image stands on the files of another machine (its base is {HOST}): "
            "it can only be used with the store it was committed to"
        )

    def _seal(self, diff_ids: Sequence[str]) -> str:
        return hmac.new(self._secret(), "\n".join(diff_ids).encode(), "sha256").hexdigest()

    def _secret(self) -> bytes:
        if not self._key:
            try:
                with open(self._path, "rb") as file:
                    self._key = file.read(_KEY_BYTES)
            except FileNotFoundError:
                self._key = os.urandom(_KEY_BYTES)
                write_atomic(self._path, self._key)
            except OSError as error:
                raise KernelError("open", error.errno or 0, self._path) from None
        return self._key
