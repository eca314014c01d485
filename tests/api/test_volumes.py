"""Volumes from outside: by our CLI, docker's and docker-py, against a real engine."""

import gzip
import io
import json
import os
import secrets
import socket
import tarfile
from pathlib import Path

import docker
import pytest

from engines import busybox_tar, wait_until
from image_archives import layer
from tree import describe

CONTENT = [
    ("data", tarfile.DIRTYPE, 0o2750, 1000, 1000, ""),
    ("data/file", tarfile.REGTYPE, 0o4711, 0, 0, ""),
    ("data/deep", tarfile.DIRTYPE, 0o755, 5, 6, ""),
    ("data/deep/same", tarfile.LNKTYPE, 0o4711, 0, 0, "data/file"),
    ("data/link", tarfile.SYMTYPE, 0o777, 0, 0, "/etc/passwd"),
    ("data/fifo", tarfile.FIFOTYPE, 0o644, 0, 0, ""),
    ("empty", tarfile.DIRTYPE, 0o700, 7, 0, ""),
]
ANONYMOUS = "com.docker.volume.anonymous"


@pytest.fixture
def volume(engine):
    """A name; whatever becomes of it, it is gone at the end."""
    name = f"v{secrets.token_hex(4)}"
    yield name
    engine.docker("volume", "rm", "-f", name)


@pytest.fixture(scope="module")
def filled(engine):
    """An image with content at /data, an empty directory and nothing: a VOLUME at each."""
    image = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=image, mode="a") as archive:
        for name, kind, mode, uid, gid, link in CONTENT:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid, entry.linkname = kind, mode, uid, gid, link
            text = b"one\n" if kind == tarfile.REGTYPE else b""
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    changes = [f"-c=VOLUME /{path}" for path in ("data", "empty", "absent")]
    engine.docker(
        "import", *changes, "-c", 'CMD ["sh"]', "-", "filled:latest", input=image.getvalue(), check=True
    )
    yield "filled:latest"
    engine.docker("rmi", "-f", "filled:latest")


def inspect(engine, name):
    return json.loads(engine.docker("volume", "inspect", name, check=True).stdout)[0]


def mounts(runner, name):
    return {mount["Destination"]: mount for mount in runner.inspect(name)["Mounts"]}


def volumes(engine, *arguments):
    return set(engine.docker("volume", "ls", "-q", *arguments, check=True).stdout.decode().split())


def test_a_named_volume_outlives_its_containers(run, engine, volume):
    run("-v", f"{volume}:/data", sh="echo kept > /data/file")
    assert run("-v", f"{volume}:/data:ro", sh="cat /data/file; touch /data/x 2>&1 || true").startswith("kept")
    assert run("--mount", f"source={volume},target=/data", sh="cat /data/file") == "kept"
    facts = inspect(engine, volume)
    assert facts["Driver"] == "local"
    assert facts["Scope"] == "local"
    assert facts["Labels"] is None
    assert facts["Options"] is None
    assert facts["Mountpoint"] == f"{engine.data_root}/volumes/{volume}/_data"
    with open(f"{facts['Mountpoint']}/file") as file:
        assert file.read() == "kept\n"


def test_what_inspect_says(run, engine, volume):
    name = run.start("-v", f"{volume}:/a", "-v", f"{volume}:/b:ro", "-v", "/c", "--mount", "target=/d")
    found = mounts(run, name)
    path = f"{engine.data_root}/volumes/{volume}/_data"
    base = {"Type": "volume", "Name": volume, "Source": path, "Driver": "local", "Propagation": ""}
    assert found["/a"] == {**base, "Destination": "/a", "Mode": "z", "RW": True}
    assert found["/b"] == {**base, "Destination": "/b", "Mode": "ro", "RW": False}
    assert (found["/c"]["Mode"], found["/d"]["Mode"]) == ("", "z")
    for mount in (found["/c"], found["/d"]):
        assert len(mount["Name"]) == 64
        assert mount["Source"] == f"{engine.data_root}/volumes/{mount['Name']}/_data"
        assert inspect(engine, mount["Name"])["Labels"] == {ANONYMOUS: ""}
    assert run.inspect(name)["Config"]["Volumes"] == {"/c": {}}


def test_ps_finds_who_uses_a_volume(run, engine, volume):
    name = run.start("-v", f"{volume}:/a")
    for value in (volume, "/a"):
        listed = run.command("ps", "-f", f"volume={value}", "--format", "{{.Names}} {{.Mounts}}").stdout
        assert f"{name} {volume}" in listed.decode().splitlines()
    assert name not in run.command("ps", "-f", "volume=/b", "--format", "{{.Names}}").stdout.decode()


def test_an_empty_volume_gets_what_the_image_has(run, engine, volume, filled):
    show = "cd /data && stat -c '%n %F %a %u:%g %h' . file deep link fifo && cat deep/same && readlink link"
    flags = ["-v", f"{volume}:/data", "--entrypoint", "sh"]
    done = run.command("run", "--rm", "--network", "none", *flags, filled, "-c", show)
    assert done.returncode == 0, done
    assert done.stdout.decode().splitlines() == [
        ". directory 2750 1000:1000 3",
        "file regular file 4711 0:0 2",
        "deep directory 755 5:6 2",
        "link symbolic link 777 0:0 1",
        "fifo fifo 644 0:0 1",
        "one",
        "/etc/passwd",
    ]


def test_a_volume_with_content_is_left_alone(run, engine, volume, filled):
    run("-v", f"{volume}:/x", sh="echo mine > /x/file")
    flags = ["--rm", "--network", "none", "-v", f"{volume}:/data"]
    done = run.command("run", *flags, filled, "sh", "-c", "ls -A /data; cat /data/file; stat -c %a /data")
    assert done.stdout.decode().split() == ["file", "mine", "755"]


@pytest.mark.parametrize("flags", [["-v", "{}:/data:nocopy"], ["--mount", "src={},dst=/data,volume-nocopy"]])
def test_nocopy(run, volume, filled, flags):
    flags = [flag.format(volume) for flag in flags]
    done = run.command("run", "--rm", "--network", "none", *flags, filled, "ls", "-A", "/data")
    assert (done.returncode, done.stdout) == (0, b""), done


def test_volumes_of_the_image(run, engine, filled):
    before = volumes(engine)
    name = f"i{secrets.token_hex(4)}"
    done = run.command(
        "run", "--name", name, "--network", "none", filled, "sh", "-c", "stat -c '%a %u' /empty"
    )
    assert done.stdout.decode().split() == ["700", "7"]
    found = mounts(run, name)
    assert set(found) == {"/data", "/empty", "/absent"}
    made = {mount["Name"] for mount in found.values()}
    assert volumes(engine) - before == made
    assert volumes(engine, "-f", "dangling=true").isdisjoint(made)
    refused = engine.docker("volume", "rm", found["/data"]["Name"])
    container = run.inspect(name)["Id"]
    assert f"remove {found['/data']['Name']}: volume is in use - [{container}]" in refused.stderr.decode()
    assert run.command("rm", "-v", name).returncode == 0
    assert volumes(engine) == before


def test_rm_keeps_anonymous_volumes_and_run_rm_does_not(run, engine, filled):
    engine.docker("volume", "prune", "-f", check=True)
    before = volumes(engine)
    run.command("run", "--rm", "--network", "none", filled, "true")
    assert volumes(engine) == before
    name = run.start("-v", "/scratch", command=["true"])
    run.wait(name)
    run.command("rm", name)
    [left] = volumes(engine) - before
    assert left in volumes(engine, "-f", "dangling=true")
    pruned = engine.docker("volume", "prune", "-f", check=True).stdout.decode()
    assert left in pruned
    assert volumes(engine) == before


def test_volumes_from(run, engine, volume, tmp_path):
    (tmp_path / "file").write_text("bound\n")
    flags = ["-v", f"{volume}:/v", "-v", f"{tmp_path}:/b", "-v", "/anonymous", "--tmpfs", "/t"]
    first = run.start(*flags)
    run.exec(first, "echo shared > /v/file; echo a > /anonymous/file")
    second = run.start("--volumes-from", f"{first}:ro", "-v", "/v", "--tmpfs", "/b")
    shown = run.exec(second, "cat /anonymous/file /v/file; ls -A /b; touch /v/x 2>&1 || true")
    assert shown.startswith("a\nshared\ntouch")
    found = mounts(run, second)
    assert found["/v"]["Name"] == volume
    assert (found["/v"]["RW"], found["/anonymous"]["RW"]) == (False, False)
    assert not {"/b", "/t"} & set(found), "--tmpfs takes the place of others, is not listed and not handed on"
    name = found["/anonymous"]["Name"]
    run.command("rm", "-fv", first)
    assert name in volumes(engine), "another container holds it"
    run.command("rm", "-fv", second)
    assert name not in volumes(engine)
    assert "No such container: nobody" in run.refused("--volumes-from", "nobody")
    assert "invalid mode: nocopy" in run.refused("--volumes-from", "x:nocopy")


def test_subpath(run, engine, volume):
    run(
        "-v",
        f"{volume}:/v",
        sh="mkdir -p /v/a/b && echo in > /v/a/b/file && ln -s a/b /v/rel && ln -s / /v/abs",
    )
    spec = f"type=volume,src={volume},dst=/x,volume-subpath="
    assert run("--mount", f"{spec}a/b", sh="cat /x/file; ls /x/..|grep -c a").startswith("in")
    assert run("--mount", f"{spec}rel", sh="cat /x/file") == "in"
    assert run("--mount", f"{spec}a/b/file", sh="cat /x") == "in"
    assert (
        "cannot access path absent: no such file or directory"
        in run.done("--mount", f"{spec}absent").stderr.decode()
    )
    assert (
        "path concatenation escapes the base directory, subpath: abs"
        in run.done("--mount", f"{spec}abs").stderr.decode()
    )
    assert "subpath must be a relative path within the volume" in run.refused("--mount", f"{spec}../x")
    assert "must not set Subpath when using anonymous volumes" in run.refused(
        "--mount", "type=volume,dst=/x,volume-subpath=a"
    )


def test_driver_options(run, engine, volume, tmp_path):
    (tmp_path / "file").write_text("elsewhere\n")
    options = ["-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}"]
    engine.docker("volume", "create", *options, "--label", "a=b", volume, check=True)
    shown = run("-v", f"{volume}:/v", sh="cat /v/file; touch /v/x 2>&1 || true")
    assert shown.startswith("elsewhere")
    assert "Read-only" in shown
    assert inspect(engine, volume)["Options"] == {"type": "none", "o": "bind,ro", "device": str(tmp_path)}
    engine.docker("volume", "rm", volume, check=True)
    assert (tmp_path / "file").exists()
    spec = f"type=volume,src={volume},dst=/t,volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    mount = f'{spec},"volume-opt=o=size=1m,mode=0711,uid=9",volume-label=x=y'
    shown = run("--mount", mount, sh="grep ' /t ' /proc/mounts; stat -c '%a %u' /t")
    assert "size=1024k" in shown
    assert shown.endswith("711 9")
    assert inspect(engine, volume)["Labels"] == {"x": "y"}
    assert not os.listdir(inspect(engine, volume)["Mountpoint"])


def test_a_mount_that_the_kernel_refuses(run, engine, volume):
    """Nobody serves NFS at that address, and a kernel may not know it."""
    wish = ["-o", "type=nfs", "-o", "o=addr=127.0.0.1,ro,soft,retrans=0,timeo=1", "-o", "device=:/path"]
    engine.docker("volume", "create", *wish, volume, check=True)
    place = inspect(engine, volume)["Mountpoint"]
    words = f"mount :/path:{place}, flags: 0x1, data: addr=127.0.0.1,soft,retrans=0,timeo=1: "
    told = run.refused("-v", f"{volume}:/v")
    assert f"error while mounting volume '{place}': failed to mount local volume: {words}" in told
    assert "OCI runtime" not in told
    assert not engine.docker("ps", "-aq", "--filter", f"volume={volume}").stdout
    assert place not in Path(f"/proc/{engine.process.pid}/mountinfo").read_text()
    engine.docker("volume", "rm", volume, check=True)


REFUSED = [
    (["volume", "create", "x"], "create x: volume name is too short, names should be at least two"),
    (["volume", "create", "a/b"], 'create a/b: "a/b" includes invalid characters for a local volume name'),
    (
        ["volume", "create", "-d", "nope", "vv"],
        'error looking up volume plugin nope: plugin "nope" not found',
    ),
    (["volume", "create", "-o", "what=x", "vv"], 'invalid option: "what"'),
    (["volume", "create", "-o", "type=none", "vv"], 'missing required option: "device"'),
    (["volume", "create", "-o", "size=1g", "vv"], "quota size requested but no quota support"),
    (["volume", "rm", "nope"], "get nope: no such volume"),
    (["volume", "inspect", "nope"], "get nope: no such volume"),
    (["volume", "ls", "-f", "what=x"], "invalid filter 'what'"),
    (["volume", "prune", "-f", "--filter", "until=1h"], "invalid filter 'until'"),
]


@pytest.mark.parametrize(("command", "words"), REFUSED)
def test_dockers_words(engine, command, words):
    done = engine.docker(*command)
    assert done.returncode != 0
    assert words in done.stderr.decode()


def test_volume_commands_refuse_in_run(run):
    assert 'create a/b: "a/b" includes invalid characters' in run.refused("-v", "a/b:/x")
    assert "invalid mode: rslave,nope" in run.refused("-v", "vol:/x:rslave,nope")
    assert "field BindOptions must not be specified" in run.refused("-v", "vol:/x:rslave")
    assert "Duplicate mount point: /x" in run.refused("-v", "vv:/x", "-v", "ww:/x")
    assert 'plugin "nope" not found' in run.refused("--volume-driver", "nope", "-v", "vv:/x")


def test_filters_and_prune(engine, client, volume):
    made = client.volumes.create(volume, labels={"team": "a"})
    assert made.attrs["Labels"] == {"team": "a"}
    assert volume in volumes(engine, "-f", f"name={volume[:4]}")
    assert volume in volumes(engine, "-f", "label=team=a", "-f", "driver=local")
    assert volume not in volumes(engine, "-f", "label=team=b")
    assert volume not in client.volumes.prune()["VolumesDeleted"]
    answer = client.volumes.prune(filters={"all": True, "label": "team=a"})
    assert answer["VolumesDeleted"] == [volume]
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get(volume)


def test_events(engine, client, run, volume):
    begin = client.info()["SystemTime"]
    run("-v", f"{volume}:/v:ro")
    engine.docker("volume", "rm", volume, check=True)

    def told():
        done = engine.docker(
            "events", "--since", begin, "--until", client.info()["SystemTime"], "--format", "json"
        )
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [event for event in found if event["Type"] == "volume" and event["Actor"]["ID"] == volume]

    wait_until(lambda: len(told()) >= 4, "four events")
    create, mount, unmount, destroy = told()
    assert [event["Action"] for event in told()] == ["create", "mount", "unmount", "destroy"]
    assert create["Actor"] == {"ID": volume, "Attributes": {"driver": "local"}}
    assert mount["Actor"]["Attributes"] == {
        "container": unmount["Actor"]["Attributes"]["container"],
        "destination": "/v",
        "driver": "local",
        "propagation": "",
        "read/write": "false",
    }
    assert set(unmount["Actor"]["Attributes"]) == {"driver", "container"}
    assert destroy["Actor"] == create["Actor"]


def test_image_mounts(run, engine, filled):
    spec = f"type=image,source={filled},target=/i"
    assert run("--mount", spec, sh="cat /i/data/file; touch /i/x 2>&1 || true").startswith("one")
    assert run("--mount", f"{spec},image-subpath=data/deep", sh="cat /i/same") == "one"
    name = run.start("--mount", spec)
    assert "conflict" in engine.docker("rmi", filled).stderr.decode()
    found = mounts(run, name)["/i"]
    assert (found["Type"], found["Name"], found["RW"]) == ("image", filled, False)
    assert "No such image: nope" in run.refused("--mount", "type=image,source=nope,target=/i")


def test_images_removed_by_force_stay_where_they_are_used(engine):
    name = f"i{secrets.token_hex(4)}"
    engine.docker("import", "-", f"{name}:1", input=layer({"file": name.encode()}), check=True)
    engine.docker("import", "-c", "LABEL a=b", "-", f"{name}:2", input=busybox_tar(), check=True)
    wish = ("--mount", f"type=image,source={name}:1,target=/i", "--network", "none", "--name", name)
    engine.docker("create", *wish, f"{name}:2", "cat", "/i/file", check=True)
    engine.docker("rmi", "-f", f"{name}:1", f"{name}:2", check=True)
    assert engine.docker("start", "-a", name).stdout.decode() == name
    engine.stop()  # what it knew of the roots is read back
    engine.start()
    assert engine.docker("start", "-a", name).stdout.decode() == name
    engine.docker("rm", name, check=True)


def test_disk_usage_and_references(engine, run, volume):
    name = run.start("-v", f"{volume}:/v")
    run.exec(name, "dd if=/dev/zero of=/v/file bs=1k count=200 conv=fsync 2>/dev/null")
    rows = json.loads(engine.docker("system", "df", "-v", "--format", "json", check=True).stdout)["Volumes"]
    [row] = [row for row in rows if row["Name"] == volume]
    assert row["Links"] == "1"
    assert row["Size"].endswith("kB")
    assert float(row["Size"].removesuffix("kB")) > 200


def test_nothing_is_mounted_by_the_engine(engine, run, volume, tmp_path):
    before = set(Path("/proc/self/mountinfo").read_text().splitlines())
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", volume, check=True)
    run.start("-v", f"{volume}:/t", "-v", "/data")
    assert set(Path("/proc/self/mountinfo").read_text().splitlines()) <= before


def test_our_volume_commands(engine, ours, volume, tmp_path):
    options = [
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        f"device={tmp_path}",
        "--label",
        "a=b",
        "--label",
        "c",
    ]
    assert ours.command("volume", "create", *options, volume).stdout.decode() == f"{volume}\n"
    facts = inspect(engine, volume)
    assert (facts["Options"]["device"], facts["Labels"]) == (str(tmp_path), {"a": "b", "c": ""})
    assert volume in ours.command("volume", "ls", "-q", "-f", "label=a=b").stdout.decode().split()
    shown = json.loads(ours.command("volume", "inspect", volume).stdout)
    assert shown == json.loads(engine.docker("volume", "inspect", volume).stdout)
    refused = ours.command("volume", "create", "--scope", "multi", volume)
    assert (refused.returncode, b"--scope: cluster volumes need a swarm" in refused.stderr) == (1, True)
    assert ours.command("volume", "update", volume).returncode == 1
    assert ours.command("volume", "rm", volume).stdout.decode() == f"{volume}\n"
    assert ours.command("volume", "rm", volume).returncode == 1
    assert ours.command("volume", "rm", "-f", volume).returncode == 0


def test_export_and_import(engine, ours, run, volume, filled, tmp_path):
    """A volume moved with owners, modes, links and devices; merged with what is there; by any compression."""
    first, second = f"{volume}-1", f"{volume}-2"
    for name in (first, second):
        engine.docker("volume", "create", name, check=True)
    try:
        run.command("run", "--rm", "--network", "none", "-v", f"{first}:/data", filled, "true")
        more = "mknod /data/null c 1 3; chmod 1777 /data/deep; dd if=/dev/urandom of=/data/big bs=1M count=3"
        run("-v", f"{first}:/data", sh=more)
        archive = tmp_path / "volume.tar"
        assert ours.command("volume", "export", "-o", str(archive), first).returncode == 0
        with tarfile.open(archive) as members:
            names = members.getnames()
        assert names[0] == "."
        assert {"./file", "./deep/same", "./link", "./fifo"} <= set(names)
        archive.write_bytes(gzip.compress(archive.read_bytes(), 1))
        done = ours.command("volume", "import", second, str(archive))
        assert (done.returncode, done.stdout.decode()) == (0, f"{second}\n"), done
        places = [inspect(engine, name)["Mountpoint"] for name in (first, second)]
        assert describe(places[0], times=False) == describe(places[1], times=False)
        run("-v", f"{second}:/data", sh="rm /data/file; mkdir /data/file; echo more > /data/more")
        assert ours.command("volume", "import", second, input=archive.read_bytes()).returncode == 0
        shown = run("-v", f"{second}:/data", sh="cat /data/file /data/more; stat -c %a /data")
        assert shown.split() == ["one", "more", "2750"]
    finally:
        engine.docker("volume", "rm", first, second)
    for command in (("export", volume), ("import", volume)):
        refused = ours.command("volume", *command, input=b"")
        assert b"no such volume" in refused.stderr, refused
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", volume, check=True)
    assert b"is mounted by its containers only" in ours.command("volume", "export", volume).stderr


def test_a_volume_that_is_exported_cannot_be_removed(engine, volume):
    engine.docker("volume", "create", volume, check=True)
    mountpoint = inspect(engine, volume)["Mountpoint"]
    with open(f"{mountpoint}/big", "wb") as file:
        file.write(os.urandom(32 << 20))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(f"GET /onggi/v1/volumes/{volume}/archive HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert (
            f"remove {volume}: volume is in use - [export"
            in engine.docker("volume", "rm", volume).stderr.decode()
        )
    wait_until(lambda: engine.docker("volume", "rm", volume).returncode == 0, "the end of the export")
