"""Networks whose machine only remembers: what they would have had the kernel do."""

from onggi.networks import wiring
from onggi.networks.core import Settings
from onggi.networks.model import Subnet
from onggi.networks.service import Networks


class FakeThread:
    """The kernel's side: no link, no route, and a list of what was asked for."""

    def __init__(self):
        self.asked, self.routes = [], []

    async def run(self, work):
        self.asked.append(work)
        return self.routes if work is wiring.routed or "routed" in work.__code__.co_names else set()

    def close(self):
        pass


class FakeFirewall:
    """Remembers every rule set."""

    def __init__(self):
        self.history, self.fail, self.obstacles = [], None, ()

    async def change(self, wanted):
        if self.fail:
            raise self.fail
        self.history.append(wanted)

    async def forget(self):
        self.history.append(None)

    def close(self):
        pass


def fake_networks(database, events, directory, **settings):
    """A network service that touches nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    networks = Networks(
        database,
        Settings(ip_forward=False, exec_root=str(directory), **settings),
        lambda action, key, facts: events.publish("network", action, key, facts),
    )
    networks.core.thread.close()
    networks.core.thread, networks.core.firewall = FakeThread(), FakeFirewall()
    for network in networks.predefined():
        if network.name == "bridge":
            network.subnets = [Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1")]
        networks.core.adopt(network)
    return networks
