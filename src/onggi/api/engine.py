"""What is behind the API: the services of the rooms below, and what ``daemon`` says of engine and machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

from onggi.build.service import Builder
from onggi.containers.events import EventBus
from onggi.containers.service import Containers
from onggi.images.questions import Questions
from onggi.images.registries import Registries
from onggi.images.service import Images
from onggi.images.transfers import Transfers
from onggi.networks.service import Networks
from onggi.volumes.contents import Contents
from onggi.volumes.service import Volumes

Json = Any


class System(Protocol):
    """Facts about the engine and its machine: /info, /version, and the doctor's report."""

    async def info(self) -> Json: ...
    async def version(self) -> Json: ...
    async def doctor(self) -> Json: ...


class DataRoot(Protocol):
    """The engine's files as a whole."""

    async def usage(self) -> Json: ...
    async def accounts(self) -> Json: ...
    def fsck(self, *, repair: bool, deep: bool) -> AsyncIterator[Json]: ...


class Engine(NamedTuple):
    """Everything that a request may ask."""

    containers: Containers
    images: Images
    transfers: Transfers
    builder: Builder
    questions: Questions
    registries: Registries
    volumes: Volumes
    volume_contents: Contents
    networks: Networks
    events: EventBus
    system: System
    data_root: DataRoot
