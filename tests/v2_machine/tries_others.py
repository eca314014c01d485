"""What stands on groups less; the suites of this repository; `onggi try`, which takes minutes."""

from pathlib import Path

from tries import CHECKOUT, Failed, command, docker, equal, run, tried


@tried
def networks() -> str:
    """a network of one's own, names, a published port on loopback"""
    docker("network", "create", "tries")
    web = ("sh", "-c", "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80; done")
    docker("run", "-d", "--network", "tries", "--name", "web", "-p", "127.0.0.1:8099:80", "box", *web)
    ask = ("run", "--rm", "--network", "tries", "box", "wget", "-qO-", "http://web/")
    equal("by name", docker(*ask), "hello")
    equal("published", command("busybox", "wget", "-qO-", "http://127.0.0.1:8099/"), "hello")
    docker("rm", "-f", "web")
    docker("network", "rm", "tries")
    return "by name and through the port"


@tried
def build() -> str:
    """`docker build` with RUN, COPY and a limit"""
    place = Path("/tmp/context")
    place.mkdir(exist_ok=True)
    (place / "file").write_text("copied\n")
    (place / "Dockerfile").write_text("FROM box\nCOPY file /\nRUN cat /file /proc/self/cgroup >/out\n")
    command("./onggi", "build", "-q", "-t", "built", str(place))
    said = docker("run", "--rm", "built", "cat", "/out")
    equal("file", said.splitlines()[0], "copied")
    return said.replace("\n", ", ")


@tried
def volumes() -> str:
    """a volume keeps what one container wrote for the next"""
    run("-v", "kept:/v", sh="echo there >/v/file")
    equal("file", run("-v", "kept:/v", sh="cat /v/file"), "there")
    docker("volume", "rm", "kept")
    return "there"


@tried
def terminal() -> str:
    """a container with a terminal, driven through script(1)"""
    said = command("script", "-qec", "docker run --rm -t --network none box tty", "/dev/null")
    equal("tty", "/dev/pts/0" in said, True)
    return "/dev/pts/0"


@tried
def first_command() -> str:
    """`onggi try` without a terminal: its memory and process limits are there"""
    said = command("./onggi", "try")
    for word in ("512 MiB", "pids limit              512"):
        equal(f"has {word!r}", word in said, True)
    return next(line for line in said.splitlines() if line.startswith("From request"))


def suite(*words: str) -> str:
    python = next(CHECKOUT.glob(".onggi/dev-*/bin/python"))
    options = ("-q", "-x", "--tb=short", "-p", "no:cacheprovider", "--maxfail=1000")
    said = command(str(python), "-m", "pytest", *options, *words, status=None, deadline=7200)
    Path(f"/tmp/{Path(words[0]).stem}.log").write_text(said)
    bad = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if bad or " passed" not in said.splitlines()[-1]:
        raise Failed("; ".join(bad) + " " + said[-3000:])
    return said.splitlines()[-1].strip("= ")


@tried
def suite_cgroups() -> str:
    """tests/root/test_cgroups.py"""
    return suite("tests/root/test_cgroups.py")


@tried
def suite_spares() -> str:
    """tests/root/test_spares.py"""
    return suite("tests/root/test_spares.py")


@tried
def suite_limits() -> str:
    """tests/api: limits"""
    return suite(
        "tests/api/test_limits.py",
        "tests/api/test_limits_memory.py",
        "tests/api/test_run_flags_limits.py",
        "tests/api/test_exec_limits.py",
    )


@tried
def suite_security() -> str:
    """tests/security: from inside, hostile roots"""
    return suite("tests/security/test_inside.py", "tests/security/test_must_hold.py")


@tried
def suite_kills() -> str:
    """tests/crash/test_kills.py"""
    return suite("tests/crash/test_kills.py")
