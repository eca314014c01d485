"""When a container is started again. Pure decisions; the timers belong to ``lifecycle``."""

from __future__ import annotations

from onggi.containers.model import Container
from onggi.containers.runtime import ExitRecord

FIRST_DELAY_NS = 100_000_000
LAST_DELAY_NS = 60_000_000_000
_STEADY_NS = 10_000_000_000  # a run of this length starts the back-off anew


def wants_restart(container: Container, exit_code: int) -> bool:
    """docker's policies: a container that somebody stopped stays down."""
    policy = container.spec.host_config.restart_policy
    if container.stopped_by_user:
        return False
    if policy.name == "on-failure":
        limit = policy.maximum_retry_count
        return exit_code != 0 and (limit == 0 or container.restarts < limit)
    return policy.name in ("always", "unless-stopped")


def delay_ns(restarts: int, record: ExitRecord) -> int:
    """The pause before the next start: 100 ms, doubled each time up to a minute."""
    if record.started_ns and record.finished_ns - record.started_ns > _STEADY_NS:
        return FIRST_DELAY_NS
    return int(min(FIRST_DELAY_NS << min(restarts, 10), LAST_DELAY_NS))


def starts_at_boot(container: Container) -> bool:
    """Whether the first engine after a boot starts it if it finds it ended (decision 0153)."""
    always = container.spec.host_config.restart_policy.name == "always"
    return container.run > 0 and (always or wants_restart(container, container.state.exit_code))
