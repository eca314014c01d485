"""``cp``, ``export`` and ``diff`` on containers in every state, by the docker command and docker-py."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from base64 import b64decode

import docker
import pytest

from engines import BUSYBOX, DEADLINE_S, wait_until

STATES = ["created", "running", "paused", "exited"]
SETUP = (
    "mkdir -p /d/e /empty /run; echo hi > /d/f; ln -s /d /l; ln -s ../../d/f /bin/far; ln -s /run /var/run; "
    "echo x > /run/pid; chown 7:8 /d/f; mkfifo /d/pipe"
)


@pytest.fixture(scope="module")
def image(engine):
    """An image with a few files besides busybox."""
    engine.docker("run", "--name", "files-setup", "busybox", "sh", "-c", SETUP, check=True)
    exported = engine.docker("export", "files-setup", check=True).stdout
    engine.docker("rm", "files-setup", check=True)
    engine.docker("import", "-c", 'CMD ["sleep","1000"]', "-", "files:1", input=exported, check=True)
    return "files:1"


@pytest.fixture(params=STATES)
def container(engine, image, name, request):
    """A container in each state."""
    engine.docker("create", "--name", name, image, check=True)
    if request.param != "created":
        engine.docker("start", name, check=True)
    if request.param == "paused":
        engine.docker("pause", name, check=True)
    if request.param == "exited":
        engine.docker("kill", name, check=True)
    return name


def make(engine, name, *options, image="busybox", command=("sleep", "1000"), start=True):
    engine.docker("create", "--name", name, *options, image, *command, check=True)
    if start:
        engine.docker("start", name, check=True)


def members(data):
    """Name -> member of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def content(data, name):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.extractfile(name).read()


def tar_of(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid, info.mode = len(text), 1234, 5678, 0o640
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def out(engine, path):
    done = engine.docker("cp", path, "-")
    assert done.returncode == 0, done
    return done.stdout


def test_out(engine, container, tmp_path):
    found = members(out(engine, f"{container}:/d"))
    assert sorted(found) == ["d", "d/e", "d/f", "d/pipe"]
    assert (found["d/f"].uid, found["d/f"].gid, found["d/f"].size) == (7, 8, 3)
    assert found["d/pipe"].isfifo()
    assert sorted(members(out(engine, f"{container}:/d/."))) == [".", "./e", "./f", "./pipe"]
    assert members(out(engine, f"{container}:/l"))["l"].linkname == "/d"
    engine.docker("cp", "-L", f"{container}:/bin/far", str(tmp_path / "far"), check=True)
    assert (tmp_path / "far").read_text() == "hi\n"
    engine.docker("cp", f"{container}:/var/run/pid", str(tmp_path), check=True)
    assert (tmp_path / "pid").read_text() == "x\n"


def test_in(engine, container, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("from the host")
    engine.docker("cp", str(tmp_path / "dir"), f"{container}:/d/new", check=True)
    engine.docker("cp", str(tmp_path / "dir/file"), f"{container}:/var/run/", check=True)
    engine.docker("cp", "-", f"{container}:/l", input=tar_of(streamed="text"), check=True)
    assert content(out(engine, f"{container}:/d/new"), "new/file") == b"from the host"
    assert content(out(engine, f"{container}:/run/file"), "file") == b"from the host"
    streamed = members(out(engine, f"{container}:/d/streamed"))["streamed"]
    assert (streamed.uid, streamed.gid, streamed.mode) == (1234, 5678, 0o640)


def test_what_was_copied_is_there_when_it_runs(engine, container, tmp_path):
    (tmp_path / "file").write_text("copied")
    engine.docker("cp", str(tmp_path / "file"), f"{container}:/copied", check=True)
    engine.docker("unpause", container)
    engine.docker("start", container)
    assert engine.docker("exec", container, "cat", "/copied", check=True).stdout == b"copied"
    assert "/copied" in members(out(engine, f"{container}:/"))


def test_what_goes_away_with_its_run_is_looked_at_before(engine, name, tmp_path):
    """The kernel mounts the volatile layer of a --rm container only once without being told."""
    (tmp_path / "file").write_text("content\n")
    engine.docker("create", "--rm", "--name", name, "busybox", "cat", "/file", "/again", check=True)
    for target in ("/file", "/again"):
        engine.docker("cp", str(tmp_path / "file"), f"{name}:{target}", check=True)
    engine.docker("cp", f"{name}:/again", str(tmp_path / "back"), check=True)
    assert (tmp_path / "back").read_text() == "content\n"
    assert engine.docker("start", "-a", name).stdout == b"content\n" * 2


def test_a_working_directory_is_there_before_the_first_start(engine, name, tmp_path):
    (tmp_path / "file").write_text("copied")
    make(engine, name, "-w", "/not/there", "-v", f"{tmp_path}:/not:ro", command=["cat", "file"], start=False)
    assert engine.docker("cp", str(tmp_path / "file"), f"{name}:/not/there/").returncode == 1
    assert sorted(os.listdir(tmp_path)) == ["file"]  # what is mounted over it is not touched
    engine.docker("rm", name, check=True)
    make(engine, name, "-w", "/not/there", command=["cat", "file"], start=False)
    engine.docker("cp", str(tmp_path / "file"), f"{name}:/not/there/", check=True)
    assert engine.docker("start", "-a", name, check=True).stdout == b"copied"


def test_what_is_not_there(engine, client, container):
    done = engine.docker("cp", f"{container}:/nothing", "-")
    words = f"Error response from daemon: Could not find the file /nothing in container {container}\n"
    assert (done.returncode, done.stderr.decode()) == (1, words)
    url = f"/containers/{container}/archive?path="
    answer = ask(client, "PUT", f"{url}/nowhere", tar_of(x="x"))
    assert answer.json()["message"] == f"Could not find the file /nowhere in container {container}"
    answer = ask(client, "PUT", f"{url}/d/f", tar_of(x="x"))
    assert (answer.status_code, answer.json()["message"]) == (400, "extraction point is not a directory")
    assert b"No such container: nobody" in engine.docker("cp", "nobody:/x", "-").stderr


def test_export(engine, container):
    found = members(engine.docker("export", container, check=True).stdout)
    assert {"bin/busybox", "d/f", "l", "var/run", "empty"} <= set(found)
    assert found["l"].linkname == "/d"
    # What is mounted in a container is not exported: /proc and the generated files are as the image has them.
    assert not [name for name in found if name.startswith(("proc/", "sys/", "dev/"))]
    assert found["etc/hosts"].size == 0


def test_diff(engine, container, tmp_path):
    assert engine.docker("diff", container, check=True).stdout == b""
    engine.docker("cp", "-", f"{container}:/d", input=tar_of(added="x", f="changed"), check=True)
    assert engine.docker("diff", container, check=True).stdout == b"C /d\nA /d/added\nC /d/f\n"


def test_diff_of_what_runs(engine, name):
    make(engine, name)
    engine.docker("exec", name, "sh", "-c", "rm -r /home; echo x >> /etc/passwd; mkdir /new", check=True)
    assert engine.docker("diff", name, check=True).stdout == b"C /etc\nC /etc/passwd\nD /home\nA /new\n"


def test_docker_py(client, name, image):
    container = client.containers.create(image, name=name)
    assert container.diff() in (None, [])
    container.put_archive("/d", tar_of(added="x"))
    pieces, facts = container.get_archive("/d/added")
    assert content(b"".join(pieces), "added") == b"x"
    assert (facts["name"], facts["size"], facts["mode"]) == ("added", 1, 0o640)
    assert container.diff() == [{"Path": "/d", "Kind": 0}, {"Path": "/d/added", "Kind": 1}]
    assert "d/added" in members(b"".join(container.export()))
    with pytest.raises(docker.errors.NotFound, match="Could not find the file /none in container"):
        container.get_archive("/none")


def ask(client, method, url, data=None):
    """A raw answer; client errors are answers too."""
    return client.api.request(method, client.api._url(url), data=data, timeout=DEADLINE_S)


def test_facts_of_paths(engine, client, name, image):
    make(engine, name, image=image, start=False)

    def facts(path):
        answer = ask(client, "HEAD", f"/containers/{name}/archive?path={path}")
        assert answer.status_code == 200, answer
        return json.loads(b64decode(answer.headers["X-Docker-Container-Path-Stat"]))

    assert facts("/d")["mode"] == 1 << 31 | 0o755
    assert facts("/tmp")["mode"] == 1 << 31 | 1 << 20 | 0o777
    assert facts("/d/pipe")["mode"] == 1 << 25 | 0o644
    link = facts("/bin/far")
    assert (link["name"], link["mode"], link["linkTarget"]) == ("far", 1 << 27 | 0o777, "/d/f")
    assert link["mtime"].endswith("Z")
    assert (facts("/l/.")["name"], facts("/l/.")["linkTarget"]) == (".", "")
    assert (facts("/l/")["name"], facts("/")["name"], facts("d")["name"]) == ("l", "/", "d")
    assert ask(client, "HEAD", f"/containers/{name}/archive?path=/none").status_code == 404
    assert ask(client, "HEAD", f"/containers/{name}/archive").status_code == 400
    assert ask(client, "GET", f"/containers/{name}/archive?path=").status_code == 400
    assert ask(client, "GET", f"/containers/{name}/archive?path=a%00b").status_code == 400


SQUEEZE = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("squeeze", SQUEEZE)
def test_compressed_archives(engine, client, name, squeeze):
    make(engine, name, start=False)
    data = SQUEEZE[squeeze](tar_of(file="x" * 100_000))
    assert ask(client, "PUT", f"/containers/{name}/archive?path=/tmp", data).status_code == 200
    assert members(out(engine, f"{name}:/tmp"))["tmp/file"].size == 100_000


@pytest.mark.parametrize(
    "data",
    [b"nonsense" * 200, tar_of(file="x" * 5000)[:3000], gzip.compress(tar_of(a="b"), mtime=0)[:-9]],
    ids=["nonsense", "cut", "cut gzip"],
)
def test_bad_archives(engine, client, name, data):
    make(engine, name, start=False)
    answer = ask(client, "PUT", f"/containers/{name}/archive?path=/tmp", data)
    assert answer.status_code == 400, answer.text
    assert "invalid" in answer.json()["message"]
    engine.docker("start", name, check=True)


def test_owners(engine, client, name):
    """Of the archive, or of the container's user."""
    make(engine, name, "--user", "user", start=False)
    for query in ("", "&copyUIDGID=1"):
        url = f"/containers/{name}/archive?path=/tmp{query}"
        assert ask(client, "PUT", url, tar_of(**{f"file{query[:1]}": "x"})).status_code == 200
    found = members(out(engine, f"{name}:/tmp"))
    assert (found["tmp/file"].uid, found["tmp/file"].gid) == (1234, 5678)
    assert (found["tmp/file&"].uid, found["tmp/file&"].gid) == (1000, 1000)


def test_kinds_are_kept(engine, client, name, image):
    make(engine, name, image=image, start=False)
    url = f"/containers/{name}/archive?path=/&noOverwriteDirNonDir=true"
    answer = ask(client, "PUT", url, tar_of(d="x"))
    assert answer.json()["message"] == 'cannot overwrite directory "/d" with non-directory "/"'
    assert ask(client, "PUT", url.partition("&")[0], tar_of(d="x")).status_code == 200
    assert members(out(engine, f"{name}:/d"))["d"].isfile()


@pytest.mark.parametrize("start", [True, False])
def test_what_is_read_only(engine, name, tmp_path, start):
    for mode in ("ro", "rw"):
        (tmp_path / mode).mkdir()
    binds = [option for mode in ("ro", "rw") for option in ("-v", f"{tmp_path / mode}:/{mode}:{mode}")]
    make(engine, name, "--read-only", *binds, start=start)

    def copy(path):
        return engine.docker("cp", "-", f"{name}:{path}", input=tar_of(file="x")).stderr.decode()

    assert copy("/tmp") == "Error response from daemon: container rootfs is marked read-only\n"
    assert copy("/ro") == "Error response from daemon: mounted volume is marked read-only\n"
    assert copy("/rw") == ""
    assert (tmp_path / "rw/file").read_text() == "x"
    assert out(engine, f"{name}:/etc/passwd")


@pytest.mark.parametrize("start", [True, False])
def test_volumes_are_part_of_it(engine, name, start):
    make(engine, name, "-v", f"{name}:/data", "-v", f"{name}:/readonly:ro", start=start)
    engine.docker("cp", "-", f"{name}:/data", input=tar_of(new="x"), check=True)
    assert content(out(engine, f"{name}:/readonly"), "readonly/new") == b"x"
    refused = engine.docker("cp", "-", f"{name}:/readonly", input=tar_of(new="x"))
    assert b"mounted volume is marked read-only" in refused.stderr
    assert "data/new" not in members(engine.docker("export", name, check=True).stdout)
    assert engine.docker("diff", name, check=True).stdout == b"A /data\nA /readonly\n"
    engine.docker("rm", "-f", name, check=True)
    engine.docker("volume", "rm", name, check=True)


@pytest.mark.parametrize("start", [True, False])
def test_binds_are_part_of_it(engine, name, tmp_path, start):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("bound")
    (tmp_path / "single").write_text("single")
    binds = ("-v", f"{tmp_path}/host:/data/inner", "-v", f"{tmp_path}/single:/etc/single")
    make(engine, name, *binds, start=start)
    assert content(out(engine, f"{name}:/data"), "data/inner/file") == b"bound"
    assert content(out(engine, f"{name}:/etc/single"), "single") == b"single"
    engine.docker("cp", "-", f"{name}:/data/inner", input=tar_of(new="x"), check=True)
    assert (tmp_path / "host/new").read_text() == "x"
    exported = members(engine.docker("export", name, check=True).stdout)
    assert "data/inner" in exported
    assert "data/inner/file" not in exported
    assert exported["etc/single"].size == 0


def test_the_kernels_files_are_not_there(engine, client, name):
    make(engine, name)
    for path in ("/proc/version", "/proc", "/sys/kernel", "/proc/self/fd/3"):
        assert b"Could not find the file" in engine.docker("cp", f"{name}:{path}", "-").stderr
    assert b"permission denied" in engine.docker("cp", f"{name}:/proc/1/root/etc/passwd", "-").stderr
    assert "proc/version" not in members(out(engine, f"{name}:/"))
    answer = ask(client, "PUT", f"/containers/{name}/archive?path=/proc/sys/kernel", tar_of(hostname="x"))
    assert answer.status_code == 404


def test_the_view_of_the_machine(engine, name, tmp_path):
    """Its secrets are in no copy, export or diff; what the container wrote is."""
    make(engine, name, "--network", "none", image="host")
    engine.docker("exec", name, "sh", "-c", "echo mine > /etc/mine", check=True)
    for path in ("/etc/shadow", "/root/.bashrc", str(engine.data_root)):
        assert b"Could not find the file" in engine.docker("cp", f"{name}:{path}", "-").stderr
    assert content(out(engine, f"{name}:/etc/mine"), "mine") == b"mine\n"
    assert b"A /etc/mine\n" in engine.docker("diff", name, check=True).stdout
    engine.docker("kill", name, check=True)
    assert content(out(engine, f"{name}:/etc/mine"), "mine") == b"mine\n"
    assert b"Could not find the file" in engine.docker("cp", f"{name}:/etc/shadow", "-").stderr
    assert b"C /etc\nA /etc/mine\n" in engine.docker("diff", name, check=True).stdout


def test_a_bare_directory(engine, name, tmp_path):
    (tmp_path / "root").mkdir()
    engine.docker("create", "--name", f"{name}x", "busybox", check=True)
    exported = engine.docker("export", f"{name}x", check=True).stdout
    engine.docker("rm", f"{name}x", check=True)
    subprocess.run(["tar", "-C", tmp_path / "root", "-xf", "-"], input=exported, check=True)
    command = ("run", "-d", "--name", name, "--network", "none", "--rootfs", str(tmp_path / "root"))
    done = engine.onggi(*command, "sleep", "99")
    assert done.returncode == 0, done
    engine.docker("cp", "-", f"{name}:/tmp", input=tar_of(file="x"), check=True)
    assert (tmp_path / "root/tmp/file").read_text() == "x"
    assert "tmp/file" in members(engine.docker("export", name, check=True).stdout)
    engine.docker("kill", name, check=True)
    assert "tmp/file" in members(engine.docker("export", name, check=True).stdout)
    assert b"has no image to differ from" in engine.docker("diff", name).stderr


def test_a_bare_directory_becomes_an_image_of_one_layer(engine, name, tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(BUSYBOX, tmp_path / "bin/busybox")
    (tmp_path / "bin/cat").symlink_to("busybox")
    os.chown(tmp_path / "bin", 7, 8)
    command = ("run", "--name", name, "--network", "none", "--rootfs", str(tmp_path), "/bin/busybox")
    assert engine.onggi(*command, "touch", "/made").returncode == 0
    try:
        engine.docker("commit", "-c", 'CMD ["cat", "/made"]', name, f"{name}:1", check=True)
        facts = json.loads(engine.docker("image", "inspect", f"{name}:1", check=True).stdout)[0]
        assert len(facts["RootFS"]["Layers"]) == 1
        run = ("run", "--rm", "--network", "none", f"{name}:1")
        assert engine.docker(*run, check=True).stdout == b""
        seen = engine.docker(*run, "/bin/busybox", "stat", "-c", "%u:%g", "/bin", check=True).stdout
        assert seen == b"7:8\n"
    finally:
        engine.docker("rmi", "-f", f"{name}:1")


def test_a_directory_with_the_engine_in_it_is_no_image(engine, name):
    created = engine.onggi("create", "--name", name, "--network", "none", "--rootfs", "/", "/bin/true")
    assert created.returncode == 0, created
    assert b"the engine's data root" in engine.docker("commit", name).stderr


def test_events(engine, client, name):
    make(engine, name, start=False)
    since = client.info()["SystemTime"]
    out(engine, f"{name}:/etc/passwd")
    engine.docker("cp", "-", f"{name}:/tmp", input=tar_of(a="b"), check=True)
    engine.docker("export", name, check=True)
    until = client.info()["SystemTime"]
    log = engine.docker("events", "--since", since, "--until", until, "--format", "{{.Action}}")
    wanted = ["archive-path", "extract-to-dir", "export"]
    assert [line for line in log.stdout.decode().split() if line in wanted] == wanted


# -- streams -----------------------------------------------------------------------------------------------


def jobs_of(engine):
    """Names of the engine's processes that are jobs."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm") as file:
                    name = file.read().strip()
                with open(f"/proc/{entry}/cgroup") as file:
                    mine = engine.cgroup_parent in file.read()
            except OSError:
                continue
            if mine and name.startswith("onggi-") and name not in ("onggi-launcher", "onggi-monitor"):
                found.append(name)
    return found


def high_water(engine):
    """The engine's peak of resident memory, in kibibytes."""
    with open(f"/proc/{engine.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def make_big(engine, name):
    """A running container with a file that no buffer holds."""
    make(engine, name)
    engine.docker("exec", name, "truncate", "-s", "256M", "/big", check=True)


def test_a_large_file_passes_through(engine, name):
    """256 MB out, with the engine's memory as it was."""
    make_big(engine, name)
    client = engine.client()
    before, size = high_water(engine), 0
    for piece in client.api.get_archive(name, "/big")[0]:
        size += len(piece)
    client.close()
    assert size > 256 << 20
    assert high_water(engine) - before < 32_000


def test_a_client_that_goes_away_ends_the_job(engine, name):
    make_big(engine, name)
    client = engine.client()
    response = client.api.get(client.api._url(f"/containers/{name}/export"), stream=True)
    pieces = response.iter_content(1 << 16)  # kept: without it the connection is closed
    next(pieces)
    wait_until(lambda: "onggi-pack" in jobs_of(engine), "the job")
    response.close()
    client.close()
    wait_until(lambda: not jobs_of(engine), "the end of the job")
    engine.docker("rm", "-f", name, check=True)


def test_a_start_sends_away_who_does_not_read(engine, name):
    """One upper directory is not mounted twice; a client that reads nothing cannot hold a container back."""
    make_big(engine, name)
    engine.docker("kill", name, check=True)
    client = engine.client()
    response = client.api.get(client.api._url(f"/containers/{name}/export"), stream=True)
    pieces = response.iter_content(1 << 16)
    next(pieces)
    engine.docker("start", name, check=True)
    wait_until(lambda: not jobs_of(engine), "the end of the job")
    response.close()
    client.close()
    assert engine.docker("exec", name, "test", "-e", "/big").returncode == 0


def test_many_at_once(engine, name, tmp_path):
    """One that is stopped has one mount at a time, whoever asks."""
    make(engine, name, start=False)
    answers = []

    def copy(number):
        if number % 3 == 2:
            done = engine.docker("export", name)
        elif number % 3 == 1:
            done = engine.docker("cp", "-", f"{name}:/tmp", input=tar_of(**{f"f{number}": "x"}))
        else:
            done = engine.docker("cp", f"{name}:/etc", "-")
        answers.append((number, done.returncode, done.stderr))

    threads = [threading.Thread(target=copy, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    engine.docker("start", name, check=True)
    for thread in threads:
        thread.join()
    assert not [answer for answer in answers if answer[1]]
    found = members(out(engine, f"{name}:/tmp"))
    assert {f"tmp/f{number}" for number in range(1, 12, 3)} <= set(found)


def mount_points():
    with open("/proc/self/mountinfo") as file:
        return set(file)


def test_nothing_of_it_is_mounted(engine, name):
    before = mount_points()
    make(engine, name, start=False)
    out(engine, f"{name}:/etc")
    engine.docker("export", name, check=True)
    engine.docker("start", name, check=True)
    out(engine, f"{name}:/etc")
    engine.docker("export", name, check=True)
    assert mount_points() <= before


def test_modes():
    from onggi.containers.copying import base_name, file_mode

    assert file_mode(stat.S_IFREG | 0o6755) == 1 << 23 | 1 << 22 | 0o755
    bases = {"/": "/", "/a": "a", "/a/": "a", "/a/.": ".", ".": ".", "a": "a", "": "."}
    assert {path: base_name(path) for path in bases} == bases
