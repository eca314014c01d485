"""Birth: what is a decision, without doing it to the test's own process."""

from __future__ import annotations

from onggi.daemon.birth import World, clean_environment, plan
from onggi.kernel.cgroups import Hierarchies

NOWHERE = Hierarchies(())


def steps(mode: str) -> list[str]:
    world = World(mode=mode, log_path="/x", cgroup="/onggi/engine", hierarchies=NOWHERE)  # type: ignore[arg-type]
    return [name for name, _ in plan(world)]


def test_only_allowed_variables_survive() -> None:
    env = {"LD_PRELOAD": "x", "AWS_SECRET": "y", "ONGGI_ROOT": "/d", "PATH": "/evil", "PYTHONPATH": "/evil"}
    assert clean_environment(env) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "ONGGI_ROOT": "/d",
    }


def test_a_clean_birth_leaves_the_session_first() -> None:
    assert steps("clean") == [
        "name",
        "chdir /",
        "umask 022",
        "reset signals",
        "close descriptors",
        "clean environment",
        "setsid",
        "stdio to the log",
        "reset nice value",
        "reset scheduler",
        "reset affinity",
        "reset limits",
        "new session keyring",
        "set oom_score_adj",
        "move to the engine's cgroup",
    ]


def test_a_foreground_engine_keeps_what_its_supervisor_gave() -> None:
    assert not {"setsid", "stdio to the log", "reset limits", "reset nice value"} & set(steps("foreground"))
