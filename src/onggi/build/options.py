"""What a client asks of a build, beside its context and Dockerfile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from onggi.booleans import BOOLEANS
from onggi.dockerfile import instructions as typed
from onggi.errors import Forbidden, InvalidArgument, Unsupported
from onggi.oci import reference as references
from onggi.registry.credentials import Keyring

Json = Any
_ENTITLEMENTS = ("network.host", "security.insecure")
_EPOCH = "SOURCE_DATE_EPOCH"


class Kept(msgspec.Struct, frozen=True, rename="pascal"):
    """What a client says of its context; ``previous`` is empty if everything is sent. ``touched`` are names
    in it below which something is sent.
    """

    id: str
    next: str
    previous: str = ""
    removed: list[str] = []
    touched: list[str] = []


class Shared(msgspec.Struct, frozen=True, rename="pascal"):
    """A cache to read or to write: ``image`` is one that is here, ``registry`` one there or here; ``ref`` is
    a name, of a ``local`` one (an OCI layout on this machine) its tag or digest. ``mounts``: with the
    contents of cache mounts.
    """

    type: str
    ref: str = ""
    path: str = ""
    mode: str = "min"
    ignore_error: bool = False
    mounts: bool = False

    @property
    def name(self) -> str:
        """What it is called where a person reads it."""
        return self.path or self.ref or self.type


class Ssh(msgspec.Struct, frozen=True, rename="pascal"):
    """Agents that a client forwards: the token of its connections, their names, and which hosts the person
    knows (ssh's file).
    """

    token: str
    ids: list[str]
    known_hosts: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of docker's ImageBuild. ``host`` has those of its HostConfig that limit each step;
    ``keyring`` has its client's credentials; ``details`` asks for what our own command shows; ``hidden`` are
    names that came with the context and are not part of it; ``check``: say what is unwise, build nothing;
    ``explain``: say why steps were found or not, beside the last build of the same ``line``;
    ``verify``: build twice and compare, of which ``again`` is the second time;
    ``debug``: wait with a shell where a RUN failed; ``allow`` are entitlements of steps that ask for them.
    """

    tags: Sequence[str] = ()
    dockerfile: str = "Dockerfile"
    remote: str = ""
    target: str = ""
    args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    host: Json = {}
    network: str = ""
    platform: str = ""
    no_cache: bool = False
    no_cache_stages: Sequence[str] = ()
    pull: bool = False
    squash: bool = False
    quiet: bool = False
    keyring: Keyring = Keyring()
    secrets: Mapping[str, bytes] = {}
    contexts: Mapping[str, str] = {}
    details: bool = False
    hidden: Sequence[str] = ()
    check: bool = False
    kept: Kept | None = None
    build_id: str = ""
    line: str = ""
    explain: bool = False
    verify: bool = False
    again: bool = False
    debug: bool = False
    ssh: Ssh | None = None
    cache_from: Sequence[Shared] = ()
    cache_to: Sequence[Shared] = ()
    allow: Sequence[str] = ()

    @property
    def shown_name(self) -> str:
        """What the Dockerfile is called where a person reads it."""
        return "Dockerfile" if self.dockerfile in self.hidden else self.dockerfile

    def own(self, name: str) -> str:
        """The value of a build argument that is for the builder, ``BUILDKIT_`` and the name."""
        return self.args.get(f"BUILDKIT_{name}", "")

    def on(self, name: str) -> bool:
        """Whether such an argument is true."""
        return BOOLEANS.get(self.own(name), False)

    @property
    def inline(self) -> bool:
        """Whether the image is to tell of its own cache."""
        return self.on("INLINE_CACHE") or any(wanted.type == "inline" for wanted in self.cache_to)

    def context(self, word: str) -> str:
        """What the client gives for a name, however that is written; empty if it gives nothing."""
        wanted = _familiar(word)
        return next((value for name, value in self.contexts.items() if _familiar(name) == wanted), "")

    @property
    def epoch_s(self) -> int | None:
        """SOURCE_DATE_EPOCH, if it is given. Raises InvalidArgument."""
        text = self.args.get(_EPOCH, "")
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 10:
            raise InvalidArgument(f"invalid {_EPOCH}: {text!r} is no number of seconds")
        return int(text)

    def uncached(self, stage: str) -> str:
        """The option by which steps of a stage are done anew, empty if they are not."""
        if self.no_cache:
            return "--no-cache"
        listed = stage.lower() in [name.lower() for name in self.no_cache_stages]
        return "--no-cache-filter" if listed else ""


def _familiar(word: str) -> str:
    try:
        return references.parse(word).familiar.removesuffix(f":{references.DEFAULT_TAG}")
    except InvalidArgument:
        return word.lower()


def refuse(options: Options) -> None:
    """Raise Unsupported for what is asked of the builder as a whole and not done."""
    if options.on("MULTI_PLATFORM"):
        raise Unsupported("BUILDKIT_MULTI_PLATFORM is not supported: an image is of one platform")
    for name in options.allow:
        if name not in _ENTITLEMENTS:
            raise Unsupported(f"entitlement {name} is not supported")


def check(run: typed.Run, options: Options) -> None:
    """Decide, in this one place, what a step may have beyond the sandbox. Raises Forbidden, Unsupported."""
    if run.security == "insecure" and "security.insecure" not in options.allow:
        raise Forbidden("security.insecure is not allowed: build with --allow=security.insecure")
    if run.network == "host" and options.network != "host" and "network.host" not in options.allow:
        raise Forbidden("network.host is not allowed: build with --allow=network.host or --network=host")
    for mount in run.mounts:
        if mount.kind == "ssh" and not options.details:
            raise Unsupported("RUN --mount=type=ssh needs an agent, which is forwarded by onggi build --ssh")
