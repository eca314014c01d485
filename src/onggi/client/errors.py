"""What can go wrong between a command and an engine. Imports nothing."""

from __future__ import annotations


def reason(error: OSError) -> str:
    """Return why a system call failed, as Go says it."""
    return (error.strerror or str(error)).lower()


class ClientError(Exception):
    """Base of the client's errors; ``str()`` is the sentence for people."""


class Unreachable(ClientError):
    """No engine answers at the address, or it may not be spoken to."""


class Disconnected(ClientError):
    """The engine closed the connection before its answer was complete."""


class EngineError(ClientError):
    """The engine answered with an error status; ``message`` is its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(f"Error response from daemon: {message}")

    @property
    def route_missing(self) -> bool:
        """Whether the engine does not know the route at all (as a foreign engine answers private calls)."""
        return self.status == 404 and "page not found" in self.message
