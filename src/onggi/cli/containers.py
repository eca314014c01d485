"""Small things that the commands on containers share."""

from __future__ import annotations

from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.command import Options


def path(name: str) -> str:
    """Return the API path of a container."""
    return f"/containers/{quote(name.removeprefix('/'))}"


def void(answer: object) -> None:
    """Drop an answer that says nothing beyond its status."""


STOP_FLAGS = (
    ("signal", "s", "string", "", "Signal that asks to stop"),
    ("time", "", "int", "", ""),
    ("timeout", "t", "int", "", "Seconds to wait before the kill"),
)


def stop_query(options: Options) -> dict[str, Any]:
    """Return the query of stop and restart."""
    timed = next((name for name in ("timeout", "time") if name in options.given), "")
    return {"signal": options.text("signal") or None, "t": options.number(timed) if timed else None}
