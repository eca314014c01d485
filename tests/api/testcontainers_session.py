"""What a person's tests do with Testcontainers; run as a program, because it reads its settings at import.

Prints its session when all of it has worked, and then waits for the end of its input with everything running.
"""

import sys
import tempfile
from pathlib import Path

from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.labels import SESSION_ID
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    CompositeWaitStrategy,
    ExecWaitStrategy,
    HealthcheckWaitStrategy,
    HttpWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)

HEALTH = {"test": ["CMD", "test", "-e", "/www/ready"], "interval": 100_000_000, "retries": 100}
SERVE = "sh -c 'echo ready for you; touch /www/ready; exec httpd -f -p 80 -h /www'"


def server(network: Network, shared: str) -> DockerContainer:
    ready = CompositeWaitStrategy(
        LogMessageWaitStrategy("ready for .*"),
        PortWaitStrategy(80),
        HttpWaitStrategy(80, "/page").for_status_code(200),
        HealthcheckWaitStrategy(),
        ExecWaitStrategy(["test", "-e", "/www/ready"]),
    )
    return (
        DockerContainer("busybox", command=SERVE)
        .with_env("WHO", "me")
        .with_network(network)
        .with_network_aliases("server")
        .with_exposed_ports(80)
        .with_volume_mapping(shared, "/www", "rw")
        .with_copy_into_container(b"copied in", "/www/page")
        .with_kwargs(healthcheck=HEALTH)
        .waiting_for(ready)
    )


def check(web: DockerContainer, network: Network, shared: str) -> None:
    told = web.exec(ExecConfig(command=["sh", "-c", "echo $WHO $MORE; exit 3"], environment={"MORE": "too"}))
    assert (told.exit_code, told.output) == (3, b"me too\n"), told
    assert web.get_logs() == (b"ready for you\n", b""), web.get_logs()
    asked = DockerContainer("busybox", command="wget -q -O - http://server/page").with_network(network)
    with asked.with_volume_mapping(shared, "/www") as client:
        assert client.wait() == 0, client.get_logs()
        assert client.get_logs()[0] == b"copied in", client.get_logs()
    with tempfile.TemporaryDirectory() as directory:
        web.copy_from_container("/www/page", Path(directory, "page"))
        assert Path(directory, "page").read_text() == "copied in"


def main() -> None:
    with Network() as network, server(network, sys.argv[1]) as web:
        check(web, network, sys.argv[1])
        print(SESSION_ID, flush=True)
        sys.stdin.read()


main()
