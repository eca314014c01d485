"""What the kernel says of the rights of a run, of an exec, of a health check, and of a restart: the same."""

import secrets

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engines import engine_at, wait_until

LOOK = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status"
MARK = "--"
NAMES = ["CHOWN", "KILL", "MKNOD", "NET_ADMIN", "NET_RAW", "SETUID", "SYS_CHROOT", "ALL"]
ASKED = st.fixed_dictionaries(
    {
        "cap_add": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "cap_drop": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "security_opt": st.lists(
            st.sampled_from(["no-new-privileges", "seccomp=unconfined"]), max_size=2, unique=True
        ),
        "group_add": st.lists(st.sampled_from(["audio", "7"]), max_size=2, unique=True),
        "user": st.sampled_from(["", "user", "1000:29"]),
    }
)
CHECK = {"test": ["CMD-SHELL", LOOK], "interval": 100_000_000, "timeout": 30_000_000_000}


@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(ASKED)
@example({"privileged": True})
@example(
    {"user": "user", "cap_add": ["NET_ADMIN"], "security_opt": ["no-new-privileges"], "group_add": ["7"]}
)
def test_every_process_of_a_container_has_the_same_rights(engine, asked):
    client = engine.client()
    try:
        name = f"rights-{secrets.token_hex(4)}"
        command = ["sh", "-c", f"{LOOK}; echo {MARK}; exec sleep 1000"]
        container = client.containers.run(
            "busybox", command, name=name, detach=True, network_mode="none", healthcheck=CHECK, **asked
        )
        try:
            seen = looks(container)
        finally:
            container.remove(force=True)
    finally:
        client.close()
    assert all(look == seen["run"] for look in seen.values()), seen
    assert "Seccomp:" in seen["run"]


def test_rights_outlive_the_engine(tmp_path_factory):
    """What is exec'd in a container of an earlier engine, and its health checks, are confined as before."""
    with engine_at(tmp_path_factory.mktemp("later")) as engine:
        client = engine.client()
        container = client.containers.run(
            "busybox", "sleep 1000", detach=True, network_mode="none", healthcheck=CHECK, user="user"
        )
        before = container.exec_run(["sh", "-c", LOOK]).output.decode()
        engine.kill()
        engine.start()
        probes = probes_of(container)
        wait_until(lambda: probes_of(container)[-1:] != probes[-1:], "a check by the second engine")
        assert container.exec_run(["sh", "-c", LOOK]).output.decode() == before
        assert probes_of(container)[-1]["Output"] == before
        client.close()
    assert "Seccomp:\t2" in before


def probes_of(container):
    container.reload()
    return (container.attrs["State"].get("Health") or {}).get("Log") or []


def looks(container):
    """What each process saw, by what it is."""

    def logged(runs):
        return container.logs().decode().count(MARK) == runs

    def probed():
        return probes_of(container)

    wait_until(lambda: logged(1) and probed(), "the first run and its check")
    seen = {"exec": container.exec_run(["sh", "-c", LOOK]).output.decode(), "check": probed()[-1]["Output"]}
    container.restart(timeout=0)
    wait_until(lambda: logged(2) and probed(), "the second run and its check")
    first, second, _ = container.logs().decode().split(f"{MARK}\n")
    again = container.exec_run(["sh", "-c", LOOK]).output.decode()
    return seen | {
        "run": first,
        "restart": second,
        "exec again": again,
        "check again": probed()[-1]["Output"],
    }
