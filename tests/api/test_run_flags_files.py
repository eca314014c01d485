"""Flags of ``run`` about files and devices: each by its effect."""

import os
import socket
import stat

import pytest


def options_of(run, path: str, *flags: str) -> set[str]:
    """Options of the mount at a path, as the container sees them, propagation tags included."""
    line = run(*flags, sh=f"grep ' {path} ' /proc/self/mountinfo")
    before, _, after = line.partition(" - ")
    words = before.split()
    return {*words[5].split(","), *words[6:], *after.split()[2].split(",")}


def test_flag_volume(run, tmp_path):
    (tmp_path / "in").write_text("from the host")
    inside = run("-v", f"{tmp_path}:/data", sh="cat /data/in; echo back >/data/out")
    assert (inside, (tmp_path / "out").read_text()) == ("from the host", "back\n")
    refused = run("-v", f"{tmp_path}:/data:ro", sh="touch /data/x 2>&1; true")
    assert refused == "touch: /data/x: Read-only file system"
    run("-v", f"{tmp_path}/made:/data")
    assert (tmp_path / "made").is_dir()
    assert "invalid mode: nosuch" in run.refused("-v", f"{tmp_path}:/data:nosuch")


@pytest.mark.parametrize(
    ("mode", "tag"), [("rprivate", ""), ("rslave", "master:"), ("rshared", "shared:"), ("slave", "master:")]
)
def test_propagation_of_volumes(run, shared_directory, mode, tag):
    found = options_of(run, "/data", "-v", f"{shared_directory}:/data:{mode}")
    tags = {option.partition(":")[0] + ":" for option in found if ":" in option}
    assert (tag in tags) if tag else not tags


def test_the_machines_root_follows_its_mounts(run):
    name = run.start("-v", "/:/machine:ro")
    assert run.exec(name, "test -d /machine/proc/self && echo there") == "there"
    assert run.inspect(name)["Mounts"][0]["Propagation"] == "rslave"
    assert "must use either propagation mode" in run.refused("-v", "/:/machine:private")


@pytest.fixture
def shared_directory(tmp_path, mounted):
    return mounted(tmp_path, "--make-shared")


def test_flag_mount(run, tmp_path):
    (tmp_path / "in").write_text("from the host")
    bind = f"type=bind,src={tmp_path},dst=/data"
    assert run("--mount", f"{bind},readonly", sh="cat /data/in; touch /data/x 2>/dev/null || echo held") == (
        "from the hostheld"
    )
    assert "master:" not in options_of(run, "/data", "--mount", f"{bind},bind-propagation=rprivate")
    tmpfs = options_of(run, "/t", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700")
    assert {"nosuid", "nodev", "noexec", "size=1024k", "mode=700"} <= tmpfs
    assert "bind source path does not exist: /nosuch" in run.refused(
        "--mount", "type=bind,src=/nosuch,dst=/data"
    )
    assert "mount of type npipe at /data: not supported" in run.refused("--mount", "type=npipe,dst=/data")


def test_flag_volume_driver(run):
    assert run("--volume-driver", "local", "-v", "/data", sh="grep -c ' /data ' /proc/mounts") == "1"
    refused = run.refused("--volume-driver", "other", "-v", "/data")
    assert 'error looking up volume plugin other: plugin "other" not found' in refused


def test_flag_volumes_from(run, tmp_path):
    (tmp_path / "in").write_text("from the host")
    other = run.start("-v", f"{tmp_path}:/data")
    assert run("--volumes-from", other, sh="cat /data/in") == "from the host"
    assert "Read-only" in run("--volumes-from", f"{other}:ro", sh="touch /data/x 2>&1; true")
    assert "invalid mode: rshared" in run.refused("--volumes-from", f"{other}:rshared")


def test_sources_that_are_no_directories(run, tmp_path):
    (tmp_path / "file").write_text("a file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        flags = [
            "-v",
            f"{tmp_path}/file:/f",
            "-v",
            f"{tmp_path}/sock:/s:z",
            "-v",
            f"{tmp_path}/file:/new/f:Z,ro",
        ]
        assert run(*flags, sh="cat /f /new/f; stat -c %F /s") == "a filea filesocket"
    assert "not a directory" in run.done("-v", f"{tmp_path}/file:/etc").stderr.decode().lower()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert run.done("-v", f"{tmp_path}/dangling:/d").returncode != 0


def test_recursion_of_mounts(run, tmp_path, mounted):
    """A read-only bind holds for what is mounted below it, unless asked otherwise."""
    (tmp_path / "below").mkdir()
    mounted(tmp_path / "below")
    bind = f"type=bind,src={tmp_path},dst=/data"
    write = "touch /data/below/x 2>/dev/null && echo written || echo held"
    assert run("--mount", f"{bind},readonly", sh=write) == "held"
    assert run("--mount", f"{bind},readonly,bind-recursive=writable", sh=write) == "written"
    plain = run("--mount", f"{bind},bind-recursive=disabled", sh="ls -A /data/below")
    assert (plain, os.listdir(tmp_path / "below")) == ("", ["x"])


def test_flag_tmpfs(run):
    found = options_of(run, "/t", "--tmpfs", "/t:size=2m,mode=1700,exec")
    assert {"size=2048k", "mode=1700", "nosuid", "nodev"} <= found
    assert "noexec" not in found
    assert 'invalid tmpfs option "nosuch"' in run.refused("--tmpfs", "/t:nosuch")


def test_flag_read_only(run):
    words = run("--read-only", sh="touch /x 2>&1; touch /dev/shm/y && echo shm")
    assert words == "touch: /x: Read-only file system\nshm"


def test_flag_shm_size(run):
    assert run("--shm-size", "1m", sh="df -k /dev/shm | tail -1 | awk '{print $2}'") == "1024"
    assert run(sh="df -k /dev/shm | tail -1 | awk '{print $2}'") == "65536"
    assert run(
        "--shm-size", "1m", sh="dd if=/dev/zero of=/dev/shm/x bs=1k count=2048 2>/dev/null || echo full"
    )


def test_flag_device(run, tmp_path):
    """The node is there with the host's numbers, and may be opened as the letters say."""
    node = tmp_path / "zero"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.chmod(node, 0o666)
    read = "stat -c %t:%T /dev/mine; head -c3 /dev/mine | wc -c"
    assert run("--device", f"{node}:/dev/mine", sh=read) == "1:5\n3"
    missing = run.done("--device", "/dev/nosuch")
    assert missing.returncode == 127  # by the words, as docker's client does
    assert b'custom device "/dev/nosuch": no such file or directory' in missing.stderr
    no_node = f'custom device "{tmp_path.parent}/nothing": not a device node'
    (tmp_path.parent / "nothing").mkdir(exist_ok=True)
    assert no_node in run.refused("--device", str(tmp_path.parent / "nothing"))
    read_or_write = "(: </dev/mine) && echo read; (: >/dev/mine) && echo write; true"
    device = f"{loop_control(tmp_path)}:/dev/mine"
    assert run("--device", f"{device}:r", sh=f"{read_or_write} 2>/dev/null") == "read"
    assert run("--device", device, sh=read_or_write) == "read\nwrite"


def loop_control(directory) -> str:
    """A device that the default rules do not allow."""
    path = directory / "loop-control"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(10, 237))
    return str(path)


def test_flag_device_cgroup_rule(run):
    use = "mknod /tmp/d c 10 237 && (: </tmp/d) && echo opened || echo held"
    assert run(sh=f"({use}) 2>/dev/null") == "held"
    assert run("--device-cgroup-rule", "c 10:237 rwm", sh=use) == "opened"
    assert "invalid device cgroup format 'nosuch'" in run.refused("--device-cgroup-rule", "nosuch")


def test_flag_use_api_socket(run):
    """Ours refuses it by name; docker's client makes a bind mount of the socket it speaks to."""
    if run.cli == "onggi":
        assert "--use-api-socket" in run.refused("--use-api-socket")
    else:
        assert run("--use-api-socket", sh="test -e /var/run/docker.sock && echo bound") == "bound"


def test_mounts_that_make_their_source(ours, tmp_path):
    """docker's CLI 28.2 does not know the key yet."""
    created = f"type=bind,src={tmp_path}/made/here,dst=/m,bind-create-src"
    assert ours("--mount", created, sh="ls -A /m") == ""
    assert (tmp_path / "made/here").is_dir()
