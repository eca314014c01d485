"""Flags of ``run`` about a container's life and its client: each by its effect."""

import itertools
import os
import signal
import subprocess
import time

import pytest

from engines import DEADLINE_S, wait_until
from runner import read_terminal


def test_flag_name(run):
    name = run.start()
    assert run.inspect(name)["Name"] == f"/{name}"
    taken = run.refused("--name", name)
    assert f'Conflict. The container name "/{name}" is already in use by container' in taken
    assert "Invalid container name (-x)" in run.refused("--name=-x")


def test_flag_rm(run):
    name = run.start("--rm", command=["true"])
    wait_until(lambda: name not in names(run), f"removal of {name}")
    kept = run.start(command=["true"])
    run.wait(kept)
    assert kept in names(run)


def names(run) -> list[str]:
    return run.command("ps", "-a", "--format", "{{.Names}}").stdout.decode().split()


def test_flag_detach(run):
    done = run.command("run", "-d", "--rm", "--network", "none", "busybox", "sleep", "1000")
    container = done.stdout.decode().strip()
    assert len(container) == 64
    assert run.inspect(container)["State"]["Running"]
    run.command("rm", "-f", container)


def test_flag_cidfile(run, tmp_path):
    path = tmp_path / "cid"
    name = run.start("--cidfile", str(path))
    assert path.read_text() == run.inspect(name)["Id"]
    done = run.done("--cidfile", str(path))
    assert done.returncode == 125
    assert b"ontainer ID file found, make sure the other container isn't running" in done.stderr


def test_flag_label(run):
    name = run.start("-l", "one=1", "--label", "bare")
    assert run.inspect(name)["Config"]["Labels"] == {"one": "1", "bare": ""}
    listed = run.command("ps", "--filter", "label=one=1", "--format", "{{.Names}}").stdout.decode()
    assert name in listed.split()


def test_flag_label_file(run, tmp_path):
    (tmp_path / "labels").write_text("# note\nx=y z\nno-value\n")
    name = run.start("--label-file", str(tmp_path / "labels"))
    assert run.inspect(name)["Config"]["Labels"] == {"x": "y z"}


def test_flag_annotation(run):
    name = run.start("--annotation", "com.example.note=yes")
    assert run.inspect(name)["HostConfig"]["Annotations"] == {"com.example.note": "yes"}


def test_flag_tty(run):
    show = "tty; test -t 2 && echo terminal; echo $TERM"
    process, master = run.terminal("run", "--rm", "-it", "--network", "none", "busybox", "sh", "-c", show)
    assert b"/dev/pts/0\r\nterminal\r\nxterm\r\n" in read_terminal(master, b"xterm\r\n")
    assert process.wait(DEADLINE_S) == 0
    os.close(master)


def test_flag_detach_keys(run):
    name = f"keys{os.getpid()}{run.cli}"
    process, master = run.terminal(
        *("run", "-it", "--name", name, "--detach-keys", "ctrl-x,x", "--network", "none"),
        *("busybox", "sh", "-c", "echo ready; exec cat"),
    )
    try:
        read_terminal(master, b"ready")
        os.write(master, b"\x18x")
        assert process.wait(DEADLINE_S) == 0
        assert run.inspect(name)["State"]["Running"]
    finally:
        os.close(master)
        run.command("rm", "-f", name)


@pytest.mark.parametrize("proxy", ["true", "false"])
def test_flag_sig_proxy(run, proxy):
    """TERM to the client ends the container, or (docker's client ends at the third) the client alone."""
    name = f"proxy{os.getpid()}{run.cli}{proxy}"
    process = subprocess.Popen(
        [*run.argv, "run", f"--sig-proxy={proxy}", "--name", name, "--network", "none", "busybox", "sh", "-c",
         "trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done"],
        stdout=subprocess.PIPE,
        env=run.engine.environment,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        while proxy == "false" and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        code = process.wait(DEADLINE_S)
        if proxy == "true":
            assert code == 33
            assert run.inspect(name)["State"]["ExitCode"] == 33
        else:
            assert run.inspect(name)["State"]["Running"]
    finally:
        process.stdout.close()
        run.command("rm", "-f", name)


TRAP = "trap 'exit 21' USR1; trap 'exit 22' TERM; echo ready; while :; do sleep 0.05; done"


def ready(run, name: str) -> None:
    wait_until(lambda: run.command("logs", name).stdout == b"ready\n", f"{name} to trap signals")


def test_flag_stop_signal(run):
    name = run.start("--stop-signal", "SIGUSR1", command=["sh", "-c", TRAP])
    ready(run, name)
    run.command("stop", name)
    assert run.inspect(name)["State"]["ExitCode"] == 21
    assert "nvalid signal: NOSUCH" in run.refused("--stop-signal", "NOSUCH")


def test_flag_stop_timeout(run):
    """A program that ignores TERM is killed when the time has passed, here at once."""
    name = run.start("--stop-timeout", "0", command=["sh", "-c", "trap '' TERM; echo ready; sleep 1000"])
    ready(run, name)
    run.command("stop", name)
    assert run.inspect(name)["State"]["ExitCode"] == 137


def test_flag_restart(run):
    name = run.start("--restart", "on-failure:2", command=["sh", "-c", "exit 3"])
    wait_until(
        lambda: (found := run.inspect(name))["RestartCount"] == 2 and not found["State"]["Running"]
        and not found["State"]["Restarting"],
        "two restarts",
    )  # fmt: skip
    assert run.inspect(name)["State"]["ExitCode"] == 3
    words = run.command("create", "--restart", "sometimes", "busybox")
    assert "unknown policy 'sometimes'" in words.stderr.decode()
    assert "cannot specify both --restart and --rm" in run.done("--restart", "always").stderr.decode()


def test_an_update_of_limits_keeps_the_restart_policy(run):
    name = run.start("--restart", "on-failure:2")
    run.command("update", "--cpu-shares", "512", name)
    host = run.inspect(name)["HostConfig"]
    assert (host["CpuShares"], host["RestartPolicy"]["Name"]) == (512, "on-failure")


def test_flag_log_driver(run):
    name = run.start("--log-driver", "none", command=["echo", "gone"])
    run.wait(name)
    done = run.command("logs", name)
    assert done.returncode == 1
    assert b"configured logging driver does not support reading" in done.stderr
    assert "nosuch" in run.refused("--log-driver", "nosuch")


def test_flag_log_opt(run):
    name = run.start(
        *("--log-opt", "max-size=1k", "--log-opt", "max-file=2"), command=["sh", "-c", "seq 10000 10500"]
    )
    run.wait(name)
    lines = run.command("logs", name).stdout.split()
    assert 0 < len(lines) < 100
    assert lines[-1] == b"10500"
    assert "nosuch" in run.refused("--log-opt", "nosuch=1")


HEALTH = ("--health-interval", "50ms", "--health-timeout", "20s")


def health(run, name: str) -> dict:
    return run.inspect(name)["State"]["Health"]


def test_flag_health_cmd(run):
    name = run.start(*HEALTH, "--health-cmd", "test -f /tmp/well", "--health-retries", "1000")
    assert health(run, name)["Status"] == "starting"
    run.exec(name, "touch /tmp/well")
    wait_until(lambda: health(run, name)["Status"] == "healthy", "healthy")


def test_flag_health_interval(run):
    """Two probes begin at least the interval after the one before has ended."""
    name = run.start("--health-interval", "100ms", "--health-cmd", "true")
    wait_until(lambda: len(health(run, name)["Log"]) >= 3, "three probes")
    probes = health(run, name)["Log"]
    assert all(one["End"] < two["Start"] for one, two in itertools.pairwise(probes))
    assert "Interval in Healthcheck cannot be less than 1ms" in run.refused(
        "--health-cmd", "true", "--health-interval", "1us"
    )


def test_flag_health_retries(run):
    name = run.start(*HEALTH, "--health-cmd", "exit 1", "--health-retries", "2")
    wait_until(lambda: health(run, name)["Status"] == "unhealthy", "unhealthy")
    assert health(run, name)["FailingStreak"] >= 2


def test_flag_health_timeout(run):
    name = run.start(
        *("--health-interval", "50ms", "--health-timeout", "50ms", "--health-retries", "1"),
        *("--health-cmd", "echo said; sleep 1000"),
    )
    wait_until(lambda: health(run, name)["Status"] == "unhealthy", "unhealthy")
    now = str(time.time())  # a duration would be cut to whole seconds by docker's command
    events = run.command("events", "--since", "100s", "--until", now, "--filter", f"container={name}")
    # The verdict comes when the probe was killed.
    assert events.stdout.index(b"exec_die") < events.stdout.index(b"health_status: unhealthy")
    told = "Health check exceeded timeout (50ms): said\n"
    wait_until(lambda: told in [probe["Output"] for probe in health(run, name)["Log"]], "what the probe said")


def test_health_of_who_is_not_probed(run):
    """Paused and stopped containers are unhealthy, as in docker; what the probes said outlives a restart."""
    name = run.start("--health-cmd", "seq 2000", "--health-interval", "100ms")
    wait_until(lambda: health(run, name)["Status"] == "healthy", "healthy")
    output = health(run, name)["Log"][0]["Output"]
    assert len(output) == 4099
    assert output.endswith("...")
    run.command("pause", name)
    assert health(run, name)["Status"] == "unhealthy"
    run.command("unpause", name)
    wait_until(lambda: health(run, name)["Status"] == "healthy", "healthy again")
    run.command("stop", "-t", "0", name)
    assert health(run, name)["Status"] == "unhealthy"
    run.command("start", name)
    assert health(run, name)["Log"]


def test_a_stop_wakes_who_is_paused(run):
    """With docker's event, behind the signal."""
    name = run.start("--init")
    run.command("pause", name)
    run.command("stop", name)
    told = ("--since", "100s", "--until", str(time.time()), "--format", "{{.Action}}")
    events = run.command("events", *told, "--filter", f"container={name}").stdout.decode().split()
    assert events[:6] == ["create", "start", "pause", "kill", "unpause", "die"]
    refused = run.command("stop", "-s", "BOGUS", name).stderr.decode()
    assert f"cannot stop container: {name}: invalid signal: BOGUS" in refused


def test_flag_health_start_period(run):
    """Failures do not count before it has passed."""
    name = run.start(
        *HEALTH, "--health-cmd", "exit 1", "--health-retries", "1", "--health-start-period", "1h",
        "--health-start-interval", "50ms",
    )  # fmt: skip
    wait_until(lambda: len(health(run, name)["Log"]) >= 3, "three probes")
    assert health(run, name)["Status"] == "starting"
    assert health(run, name)["FailingStreak"] == 0


def test_flag_health_start_interval(run):
    """Probes come this fast in the start period, though the interval is an hour."""
    name = run.start(
        *("--health-cmd", "true", "--health-interval", "1h"),
        *("--health-start-period", "1h", "--health-start-interval", "50ms"),
    )
    wait_until(lambda: len(health(run, name)["Log"]) >= 1, "a probe")


def test_flag_no_healthcheck(run):
    name = run.start("--no-healthcheck")
    assert run.inspect(name)["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert "Health" not in run.inspect(name)["State"]


def test_flag_pull(run):
    done = run.command("run", "--rm", "--pull", "never", "nosuch", "true")
    assert done.returncode == 125
    assert b"No such image: nosuch:latest" in done.stderr
    done = run.command("run", "--rm", "--pull", "always", "busybox", "true")
    assert done.returncode == 125
    assert b"registry-1.docker.io" in done.stderr  # there is no network here


def test_flag_quiet(run):
    """No line about the pull; what goes wrong is still said."""
    done = run.command("run", "--rm", "--quiet", "nosuch", "true")
    assert done.returncode == 125
    assert b"Unable to find image" not in done.stderr
    assert b"registry-1.docker.io" in done.stderr


def test_flag_platform(run):
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert run("--platform", f"linux/{machine}", sh="echo ran") == "ran"
    done = run.done("--platform", "linux/s390x", "--pull", "never")
    assert done.returncode == 125
    assert b"does not match the specified platform" in done.stderr


def test_flag_runtime(run):
    name = run.start("--runtime", "onggi")
    assert run.inspect(name)["HostConfig"]["Runtime"] == "onggi"
    assert "unknown or invalid runtime name: nosuch" in run.refused("--runtime", "nosuch")


def test_flag_isolation(run):
    assert run("--isolation", "default", sh="echo ran") == "ran"
    assert "nvalid isolation" in run.refused("--isolation", "hyperv")


def test_flag_disable_content_trust(run):
    """Accepted and without effect in docker too, unless DOCKER_CONTENT_TRUST is set."""
    assert run("--disable-content-trust", sh="echo ran") == "ran"


def test_flag_help(run):
    done = run.command("run", "--help")
    assert done.returncode == 0
    assert b"Create and run a new container from an image" in done.stdout or b"Usage:" in done.stdout
