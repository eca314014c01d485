"""Real root file systems, imported and used: Debian by mmdebstrap, and busybox."""

import pytest

from runner import Runner

BIG = (
    "dd if=/dev/urandom bs=1M count=200 2>/dev/null | tee /big | sha256sum >/sum; "
    "echo 3 >/proc/sys/vm/drop_caches 2>/dev/null; sha256sum </big | cmp - /sum && wc -c </big"
)


def inside(run: Runner, image: str, *command: str, flags: tuple[str, ...] = ()) -> str:
    done = run.command("run", "--rm", "--network", "none", *flags, image, *command)
    assert done.returncode == 0, done
    return done.stdout.decode()


def test_debian(ours, debian):
    assert inside(ours, debian, "apt-get", "--version").startswith("apt 2.6")
    assert inside(ours, debian, "perl", "-e", 'print join(",", map { $_ ** 2 } 1..4)') == "1,4,9,16"
    assert "ii  base-files " in inside(ours, debian, "dpkg", "-l")
    assert inside(ours, debian, "id") == "uid=0(root) gid=0(root) groups=0(root)\n"
    assert inside(ours, debian, "id", flags=("-u", "www-data")).startswith("uid=33(www-data)")
    assert inside(ours, debian, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME") == "bookworm\n"


def test_busybox(ours):
    listed = inside(ours, "busybox", "ps", "-o", "pid,comm").split("\n")
    assert [line.split() for line in listed[1:-1]] == [["1", "ps"]]
    assert inside(ours, "busybox", "id") == "uid=0(root) gid=0(root) groups=0(root)\n"


@pytest.mark.parametrize("image", ["busybox", "debian"])
def test_200_megabytes(ours, request, image):
    name = "busybox" if image == "busybox" else request.getfixturevalue(image)
    assert int(inside(ours, name, "sh", "-c", BIG)) == 200 << 20


def test_memory_hog_in_debian(ours, debian):
    """Of perl, which asks for its memory in one piece."""
    done = ours.command(
        *("run", "--name", "hog", "--network", "none", "--memory", "64m", "--memory-swap", "64m"),
        *(debian, "perl", "-e", '$x = "x" x 500_000_000; print length $x'),
    )
    try:
        assert (done.returncode, done.stdout) == (137, b"")
        assert ours.inspect("hog")["State"]["OOMKilled"]
    finally:
        ours.command("rm", "-f", "hog")


def test_fork_bomb_in_debian(ours, debian):
    """Forks fail at the limit, and the container goes on; the bomb ends by itself."""
    script = (
        "while (defined(my $p = fork)) { $p or do { sleep 1000; exit }; push @k, $p; last if @k > 500 } "
        "print scalar @k; kill 9, @k"
    )
    assert inside(ours, debian, "perl", "-e", script, flags=("--pids-limit", "40")) == "39"
