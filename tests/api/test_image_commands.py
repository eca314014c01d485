"""Commands about images on a real engine, by our command and by docker's: the same images come out."""

import contextlib
import json
import lzma
import shutil

import bcrypt
import pytest

from registries import serving

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def guarded(engine, tmp_path_factory):
    """The address of a registry that wants a password."""
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text("ann:" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
    with serving(engine, Htpasswd=str(users)) as registry:
        yield registry.address


@pytest.fixture
def commands(run, tmp_path, monkeypatch):
    """The CLI with a configuration of its own; what it tags is removed."""
    environment = {**run.engine.environment, "DOCKER_CONFIG": str(tmp_path / "config")}
    monkeypatch.setattr(type(run.engine), "environment", property(lambda _: environment))
    made = []

    def command(*words, input=b"", status=0):
        done = run.command(*words, input=input)
        assert done.returncode == status, done
        made.extend(words[2:3] if words[0] == "tag" else [])
        return done.stdout.decode(), done.stderr.decode()

    yield command
    for name in made:
        run.command("rmi", "-f", name)


def image_id(commands, name):
    return json.loads(commands("image", "inspect", name)[0])[0]["Id"]


def test_there_and_back_again(commands, guarded, tmp_path):
    name = f"{guarded}/there/busybox:1"
    commands("tag", "busybox", name)
    assert "no basic auth credentials" in commands("push", name, status=1)[1]
    wrong = commands("login", "-u", "ann", "--password-stdin", guarded, input=b"wrong", status=1)
    assert "401 Unauthorized" in wrong[1]
    out, err = commands("login", "-u", "ann", "--password-stdin", guarded, input=PASSWORD.encode())
    assert out == "Login Succeeded\n"
    assert "stored unencrypted" in err
    assert (tmp_path / "config" / "config.json").stat().st_mode & 0o777 == 0o600
    pushed = commands("push", name)[0]
    assert pushed.startswith(f"The push refers to repository [{guarded}/there/busybox]\n")
    digest = pushed.split("digest: ")[1].split()[0]
    listed = commands("images", "--digests", "--format", "{{.Digest}}", f"{guarded}/there/busybox")[0]
    assert listed == f"{digest}\n"
    before = image_id(commands, name)
    commands("rmi", name)
    pulled = commands("pull", name)[0]
    assert f"Digest: {digest}\n" in pulled
    assert pulled.endswith(f"{name}\n")
    assert image_id(commands, name) == before
    commands("rmi", name)
    ran = commands("run", "--rm", "--network", "none", name, "echo", "hello")
    assert ran[0] == "hello\n"
    assert ran[1].startswith(f"Unable to find image '{name}' locally\n1: Pulling from there/busybox\n")
    assert ran[1].endswith(f"Status: Downloaded newer image for {name}\n")
    commands("logout", guarded)
    commands("rmi", name)
    assert "no basic auth credentials" in commands("pull", name, status=1)[1]
    assert commands("create", "--pull", "never", name, status=1)[1].endswith(f"No such image: {name}\n")


def test_archives(commands, tmp_path):
    archive = tmp_path / "images.tar"
    commands("tag", "busybox", "saved:1")
    before = image_id(commands, "saved:1")
    commands("save", "-o", str(archive), "saved:1")
    commands("rmi", "saved:1")
    packed = tmp_path / "images.tar.xz"
    packed.write_bytes(lzma.compress(archive.read_bytes(), preset=0))
    for source in (archive, packed):
        assert commands("load", "-i", str(source))[0] == "Loaded image: saved:1\n"
        assert image_id(commands, "saved:1") == before
        commands("rmi", "saved:1")
    assert commands("load", input=archive.read_bytes())[0] == "Loaded image: saved:1\n"


def test_layouts_and_manifests_are_ours_alone(ours, guarded, tmp_path):
    """What docker's command cannot say."""
    layout = tmp_path / "layout"
    assert ours.command("push", "busybox", f"oci:{layout}:kept").returncode == 0
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    done = ours.command("pull", f"oci:{layout}:kept")
    assert done.returncode == 0, done
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(layout)
    refused = ours.command("manifest", "inspect", "--insecure", f"{guarded}/there/busybox:1")
    assert refused.returncode == 1, refused


def test_a_manifest_of_a_registry(engine, ours):
    with serving(engine) as registry:
        name = f"{registry.address}/busybox:latest"
        done = ours.command("manifest", "inspect", "--insecure", name)
        assert done.returncode == 0, done
        plain = json.loads(done.stdout)
        verbose = json.loads(ours.command("manifest", "inspect", "-v", "--insecure", name).stdout)
    assert plain["schemaVersion"] == 2
    kind = "OCIManifest" if "oci" in plain["mediaType"] else "SchemaV2Manifest"
    assert verbose[kind] == plain
    assert (verbose["Ref"], verbose["Descriptor"]["platform"]["os"]) == (name, "linux")
