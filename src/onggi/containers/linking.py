"""Old links (``--link`` on the default network) of containers that are made, start and run.

What links mean as such is in ``links``; here they meet addresses, hosts files and the rows of containers.
"""

from __future__ import annotations

import msgspec

from onggi.containers import files, links
from onggi.containers.context import Context
from onggi.containers.model import Container
from onggi.containers.request import ContainerConfig, HostConfig, joined
from onggi.errors import InvalidArgument, NotFound, OnggiError


class Linking:
    """The links of every container of the context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def children(self, container: Container) -> dict[str, Container]:
        """The containers that old links lead to, by alias."""
        return links.children(container, self._context.containers, self._context.names)

    def check(self, container: Container) -> None:
        """Raises OnggiError, in docker's words, for an old link to a container that cannot be spoken to."""
        if "bridge" not in container.spec.networks or not container.spec.host_config.links:
            return
        found = self.children(container)
        down = {alias: other.name for alias, other in found.items() if not other.state.running}
        for alias, name in {**down, **links.lost(container, found)}.items():
            raise OnggiError(f"Cannot link to a non running container: /{name} AS /{container.name}/{alias}")
        for other in found.values():
            if "bridge" not in other.spec.networks:
                raise OnggiError(f"container {other.id} not attached to default bridge network")

    def by_id(self, host: HostConfig) -> list[str]:
        """Old links with ids for names, which may change; whether what they lead to runs is for the start."""
        return [links.entry(self._link_target(ref), alias) for alias, ref in links.by_alias(host).items()]

    def _link_target(self, ref: str) -> Container:
        """The container whose network ``ref`` has."""
        try:
            other = self._context.find(ref)
        except NotFound as error:  # to docker's command a 404 is an image that is not here
            raise InvalidArgument(f"could not get container for {ref}: {error}") from None
        mode = other.spec.host_config.network_mode
        if mode == "host":
            raise InvalidArgument(f"conflicting options: host type networking {links.WITHOUT}")
        owner = joined(mode)
        return self._link_target(owner) if owner else other

    async def renamed(self, container: Container) -> None:
        """Write a container's new name where it is linked, for the time when it is removed."""
        for parent in list(self._context.containers.values()):
            host = parent.spec.host_config
            if host.links and not parent.removing and (now := links.renamed(host, container)) != host.links:
                host.links = now
                if parent.stored:
                    await self._context.save(parent, whole=True)

    def tell_parents(self, container: Container) -> None:
        """Write the address of a container that starts where running ones that link it look for it."""
        address = self._default_address(container)
        for parent in self._context.containers.values() if address else ():
            if not parent.spec.host_config.links or not parent.alive:
                continue
            for alias, other in self.children(parent).items():
                if other is container:
                    files.move_name(self._context.directory(parent.id), alias, address)

    def host_lines(self, container: Container) -> list[tuple[str, str]]:
        """Old links on the default network: names in the hosts file."""
        return [
            (address, " ".join(dict.fromkeys([alias, other.spec.config.hostname, other.name])))
            for other, alias, address in self._linked(container)
        ]

    def _linked(self, container: Container) -> list[tuple[Container, str, str]]:
        """(container, alias, address) of every linked container that runs."""
        return [
            (other, alias, address)
            for alias, other in self.children(container).items()
            if (address := self._default_address(other))
        ]

    def config_of(self, container: Container) -> ContainerConfig:
        """The configuration of the next process: with what old links add to the environment.

        Raises OnggiError like ``check``.
        """
        self.check(container)
        config = container.spec.config
        added = [
            line
            for other, alias, address in self._linked(container)
            for line in links.variables(container.name, alias, address, other.spec.config)
        ]
        return msgspec.structs.replace(config, env=[*added, *config.env]) if added else config

    async def unlink(self, ref: str) -> None:
        """``docker rm --link container/alias``."""
        name, _, alias = ref.strip("/").rpartition("/")
        if not name:
            raise InvalidArgument("Conflict, cannot remove the default link name of the container")
        container = self._context.find(name)
        async with container.lock:
            host = container.spec.host_config
            kept = [entry for entry in host.links or [] if links.split(entry)[1] != alias]
            if len(kept) == len(host.links or []):
                raise NotFound(f"No such container: {ref}")
            host.links = kept or None
            await self._context.save(container, whole=True)

    def _default_address(self, container: Container) -> str:
        sandbox = self._context.networks.sandboxes.get(container.id)
        endpoint = sandbox and sandbox.endpoints.get(self._context.networks.find("bridge").id)
        return endpoint.ipv4.partition("/")[0] if endpoint else ""
