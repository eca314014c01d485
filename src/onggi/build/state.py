"""Where a stage of a build stands: the configuration, and the layers below the next step. Pure."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.dockerfile import effects
from onggi.errors import InvalidArgument
from onggi.images.recording import MAX_LAYERS
from onggi.images.views import epoch
from onggi.oci.digest import chain_id
from onggi.oci.image import DEFAULT_PATH, Image, environment, without_reserved
from onggi.oci.platform import Platform
from onggi.times import rfc3339_fixed

Json = Any
_COMMENT = "buildkit.dockerfile.v0"  # what tools that read histories know this form of them by
_SECOND = 1_000_000_000


class State(msgspec.Struct, frozen=True, kw_only=True):
    """``document`` is an image's configuration without its layers; ``layers`` are diff ids, base first.

    ``time_ns`` is the time of everything that is made. ``own_command``: CMD was set here.
    """

    document: Json
    layers: Sequence[str] = ()
    base: str | None = None
    time_ns: int = 0
    own_command: bool = False

    @property
    def config(self) -> Json:
        """The part of the configuration that containers start with."""
        return self.document["config"]

    @property
    def chain(self) -> str:
        """The chain id of the topmost layer, empty without layers."""
        return chain_id(self.layers)

    @property
    def directory(self) -> str:
        """The working directory."""
        return self.config.get("WorkingDir") or "/"

    @property
    def shell(self) -> list[str]:
        """The words before a command in shell form."""
        return effects.shell(self.config)

    def changed(self, **config: Json) -> State:
        """With members of the configuration set, or taken away (None)."""
        document = {**self.document, "config": {**self.config, **config}}
        document["config"] = {key: value for key, value in document["config"].items() if value is not None}
        return msgspec.structs.replace(self, document=document)

    def member(self, name: str, value: Json) -> State:
        """With a member of the document beside docker's."""
        return msgspec.structs.replace(self, document={**self.document, name: value})

    def told(self, created_by: str, diff_id: str = "", *, empty: bool = True) -> State:
        """With one more step in the history, and its layer if it made one."""
        step: Json = {"created": timestamp(self.time_ns), "created_by": created_by, "comment": _COMMENT}
        if empty:
            step["empty_layer"] = True
        document = {**self.document, "history": [*self.document["history"], step]}
        layers = [*self.layers, diff_id] if diff_id else self.layers
        if len(layers) > MAX_LAYERS:
            raise InvalidArgument("max depth exceeded")
        return msgspec.structs.replace(self, document=document, layers=layers)


Origin = Callable[[str], Awaitable[State]]  # the state that the name of a stage or an image stands for


class Done(NamedTuple):
    """The state behind a step, whether its layer was here, and what it was made of as far as it tells."""

    state: State
    cached: bool
    parts: Json = None


def timestamp(time_ns: int) -> str:
    """A time in a configuration."""
    return rfc3339_fixed(time_ns).replace(".000000000Z", "Z")


def from_image(image: Image, epoch_s: int | None) -> State:
    """The beginning of a stage on an image: reserved labels and what was to happen in this build are left
    out.
    """
    document = copy.deepcopy(image.config)
    config = document.get("config") or {}
    config.pop("OnBuild", None)
    if config.get("Labels"):
        config["Labels"] = without_reserved(config["Labels"])
    if "PATH" not in environment(config):
        config["Env"] = [*(config.get("Env") or []), DEFAULT_PATH]
    kept = ("architecture", "os", "variant", "os.version", "os.features", "author")
    time_ns = max(0, epoch(image.created) if epoch_s is None else epoch_s) * _SECOND
    return State(
        document={key: document[key] for key in kept if document.get(key)}
        | {"config": config, "history": list(document.get("history") or [])},
        layers=list(image.layers),
        base=image.base,
        time_ns=time_ns,
    )


def from_scratch(platform: Platform, epoch_s: int | None) -> State:
    """The beginning of a stage on nothing."""
    variant = {"variant": platform.variant} if platform.variant else {}
    config = {"Env": [DEFAULT_PATH], "WorkingDir": "/"}
    document = {"architecture": platform.architecture, "os": platform.os, **variant}
    return State(document=document | {"config": config, "history": []}, time_ns=(epoch_s or 0) * _SECOND)


def from_stage(state: State) -> State:
    """The beginning of a stage on another one, whose triggers do not come along."""
    return msgspec.structs.replace(state.changed(OnBuild=None), own_command=False)
