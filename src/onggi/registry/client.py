"""A conversation with one registry as one user: authentication, redirects, and patience with what may pass.

The rules of R11 live here: credentials stay with the registry's own origin; TLS is never left; a registry on
the internet leads nowhere into private networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from onggi.errors import ServerFailed
from onggi.registry import addresses, challenges
from onggi.registry.cancel import Cancel, Guard
from onggi.registry.credentials import AuthConfig
from onggi.registry.failures import Refusal, Transient, Unreachable, refusal, status_line
from onggi.registry.settings import Limits
from onggi.registry.tokens import Authorizer, Reply
from onggi.registry.transport import Answer, Request, Transport

T = TypeVar("T")
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPING_METHOD = (307, 308)
_LONGEST_PAUSE_S = 30.0
_MAX_ERROR_BODY = 64 << 10
_PRIVATE_HEADERS = ("authorization", "cookie")


class Document(msgspec.Struct, frozen=True):
    """A small answer, read whole. Names of headers are lower-case."""

    url: str
    status: int
    headers: dict[str, str]
    data: bytes = b""
    refused: Refusal | None = None

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def accepted(self) -> Document:
        """The document itself; raises the refusal if it is one."""
        if self.refused is not None:
            raise self.refused.error()
        return self


class Client:
    """One registry at ``url`` (scheme and host). Any thread may use it; ``connect`` first."""

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        url: str,
        auth: AuthConfig | None,
        *,
        offline: bool = False,
    ) -> None:
        self.url = url
        self._transport = transport
        self._limits = limits
        self._is_public = False
        self.authorizer = Authorizer(url, auth, self._ask_realm, offline=offline)

    def connect(self, cancel: Cancel) -> None:
        """Ask for ``/v2/``: learn how to authenticate, and whether this registry is one of the internet's.

        Raises Unreachable at once, so that another scheme or mirror can be tried.
        """
        attempt(lambda: self._ping(cancel), self._limits, cancel, final=Unreachable)

    def document(self, request: Request, scope: str, cancel: Cancel, attempts: int = 0) -> Document:
        """Exchange small documents. What the registry refuses is in the result; all else is raised."""
        tries = msgspec.structs.replace(self._limits, attempts=attempts or self._limits.attempts)
        return attempt(lambda: self._document(request, scope, cancel), tries, cancel)

    def stream(self, request: Request, scope: str, cancel: Cancel) -> Answer | Document:
        """The head of a large answer, its body still to come; or the Document that refuses it."""
        return attempt(lambda: self._stream(request, scope, cancel), self._limits, cancel)

    def location(self, found: Document) -> str:
        """The URL of an answer's ``Location``."""
        return self.place(found.url, found.header("location"))

    def place(self, base: str, target: str) -> str:
        """The URL that an answer of ``base`` names, judged like a redirect."""
        return self._judged(addresses.follow(base, target))

    def _ping(self, cancel: Cancel) -> None:
        with self._exchange(Request("GET", f"{self.url}/v2/"), cancel) as it:
            self._is_public = self._looks_public(it.peer)
            _raise_trouble(it)
            if it.status == 401:
                self.authorizer.learn(challenges.parse(it.headers.getlist("www-authenticate")))

    def _looks_public(self, peer: str) -> bool:
        if self._transport.is_proxied(self.url):
            return not addresses.literal_is_private(self.url)
        return addresses.is_public(peer)

    def _document(self, request: Request, scope: str, cancel: Cancel) -> Document:
        with self._authorized(request, scope, cancel) as answer:
            return _read(answer, self._limits.document_bytes)

    def _stream(self, request: Request, scope: str, cancel: Cancel) -> Answer | Document:
        answer = self._authorized(request, scope, cancel)
        if answer.status < 300:
            answer.unlimited()
            return answer
        with answer:
            return _read(answer, self._limits.document_bytes)

    def _authorized(self, request: Request, scope: str, cancel: Cancel) -> Answer:
        """Send with what proves who we are; once more, freshly proven, if the registry asks for it."""
        answer = self._follow(self._with_proof(request, scope, cancel), cancel)
        if answer.status == 401 and addresses.origin(answer.url) == addresses.origin(self.url):
            self.authorizer.learn(challenges.parse(answer.headers.getlist("www-authenticate")))
            self.authorizer.forget(scope)
            if self.authorizer.is_challenged and _can_repeat(request):
                answer.close()
                answer = self._follow(self._with_proof(request, scope, cancel), cancel)
        _raise_trouble(answer)
        return answer

    def _with_proof(self, request: Request, scope: str, cancel: Cancel) -> Request:
        if addresses.origin(request.url) != addresses.origin(self.url):
            return request
        proof = self.authorizer.header(scope, cancel)
        headers = {**request.headers, "Authorization": proof} if proof else request.headers
        return msgspec.structs.replace(request, headers=headers)

    def _follow(self, request: Request, cancel: Cancel) -> Answer:
        seen = {request.url}
        while True:
            answer = self._exchange(request, cancel)
            if answer.status not in _REDIRECTS or not answer.header("location"):
                return answer
            with answer:
                request = self._next(request, answer)
            if request.url in seen or len(seen) > self._limits.redirects:
                raise ServerFailed(
                    f'Get "{addresses.shown(answer.url)}": stopped after {len(seen)} redirects'
                )
            seen.add(request.url)

    def _next(self, request: Request, answer: Answer) -> Request:
        """The request that a redirect asks for, if it may be made."""
        target = self.place(answer.url, answer.header("location"))
        elsewhere = addresses.origin(target) != addresses.origin(answer.url)
        if not _may_move(request, answer.status, elsewhere=elsewhere):
            raise ServerFailed(
                f'{request.method.capitalize()} "{addresses.shown(answer.url)}": '
                f"unexpected redirect: {status_line(answer.status)}"
            )
        headers = request.headers
        if elsewhere:
            headers = {name: it for name, it in headers.items() if name.lower() not in _PRIVATE_HEADERS}
        return msgspec.structs.replace(request, url=target, headers=headers)

    def _judged(self, target: str) -> str:
        if self._is_public and addresses.literal_is_private(target):
            addresses.refuse(addresses.host_of(target))
        return target

    def _exchange(self, request: Request, cancel: Cancel) -> Answer:
        """One request; every connection of a public registry's conversation must be to the internet."""
        permit = addresses.refuse_private if self._is_public else None
        # A large body takes its time; its every piece has a limit of its own.
        limit = max(self._limits.document_s, request.patience_s) if _can_repeat(request) else None
        guard = Guard(cancel, limit, permit).__enter__()
        try:
            return self._transport.exchange(request, guard)
        except BaseException:
            guard.close()
            raise

    def _ask_realm(self, request: Request, cancel: Cancel) -> Reply:
        """One small exchange with the realm of tokens."""
        self._judged(request.url)

        def ask() -> Reply:
            with self._follow(request, cancel) as answer:
                _raise_trouble(answer)
                found = _read(answer, self._limits.document_bytes)
                return Reply(found.status, found.data, found.refused)

        return attempt(ask, self._limits, cancel)


def attempt(
    action: Callable[[], T], limits: Limits, cancel: Cancel, final: type[Exception] | None = None
) -> T:
    """The result of ``action``, tried again after errors that may pass (but for ``final``)."""
    for number in range(1, limits.attempts):
        try:
            return action()
        except Transient as error:
            if final is not None and isinstance(error, final):
                raise
        cancel.sleep(pause_s(limits, number))
    return action()


def pause_s(limits: Limits, failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(limits.backoff_s * float(2 ** (failures - 1)), _LONGEST_PAUSE_S)


def _may_move(request: Request, status: int, *, elsewhere: bool) -> bool:
    """Whether a redirect may be followed: a body stays with the host it was meant for, it may be a secret."""
    if request.method in ("GET", "HEAD"):
        return True
    return status in _KEEPING_METHOD and _can_repeat(request) and not (elsewhere and request.body)


def _can_repeat(request: Request) -> bool:
    return request.body is None or isinstance(request.body, bytes)


def _raise_trouble(answer: Answer) -> None:
    """Close and raise for the answers that speak of the server's own troubles."""
    if answer.status >= 500:
        answer.close()
        kind = ServerFailed if answer.status == 501 else Transient
        raise kind(f"received unexpected HTTP status: {status_line(answer.status)}")


def _read(answer: Answer, limit: int) -> Document:
    headers = {name.lower(): answer.header(name) for name in answer.headers}
    if answer.status < 400:
        return Document(answer.url, answer.status, headers, answer.read(limit))
    found = challenges.parse(answer.headers.getlist("www-authenticate"))
    errors = [
        (it.parameters.get("error", ""), it.parameters.get("error_description", ""))
        for it in found
        if it.scheme == "bearer"
    ]
    body = answer.read_some(_MAX_ERROR_BODY)
    refused = refusal(answer.status, body, [*errors, ("", "")][0], answer.header("retry-after"))
    return Document(answer.url, answer.status, headers, refused=refused)
