"""``commit``: what a container changed becomes an image, also above the view of this machine."""

import json
import time

import pytest
from docker.errors import APIError

from engines import RealEngine
from image_archives import docker_archive, layer


@pytest.fixture
def tidy(engine):
    """Names that a test leaves."""
    names: list[str] = []
    yield names.append
    for name in names:
        engine.docker("rm", "-f", name)
    for name in names:
        engine.docker("rmi", "-f", name)


def inspected(engine, image: str):
    return json.loads(engine.docker("image", "inspect", image, check=True).stdout)[0]


def test_changes_become_a_layer(engine, tidy):
    tidy("source")
    tidy("made:1")
    script = "echo new >/etc/new; rm /etc/group; mkdir -p /srv/d; ln -s d /srv/l; chmod 4711 /bin/busybox"
    engine.docker("run", "--name", "source", "--network", "none", "busybox", "sh", "-c", script, check=True)
    commit = ("commit", "-m", "why", "-a", "who", "-c", "ENV X=1", "-c", 'CMD ["cat", "/etc/new"]')
    engine.docker(*commit, "source", "made:1", check=True)
    assert engine.docker("run", "--rm", "--network", "none", "made:1", check=True).stdout == b"new\n"
    look = "ls /etc; readlink /srv/l; stat -c %a /bin/busybox; echo $X"
    seen = engine.docker("run", "--rm", "--network", "none", "made:1", "sh", "-c", look, check=True).stdout
    assert b"group" not in seen
    assert seen.split()[-3:] == [b"d", b"4711", b"1"]
    facts, base = inspected(engine, "made:1"), inspected(engine, "busybox")
    assert facts["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert (facts["Author"], facts["Comment"]) == ("who", "why")
    assert facts["Config"]["Cmd"] == ["cat", "/etc/new"]
    assert facts["Parent"] == base["Id"]


def test_a_parent_is_told_while_it_is_here(engine, client, tidy):
    tidy("grown")
    tidy("made:of-made")
    engine.docker("run", "--name", "grown", "--network", "none", "busybox", "touch", "/x", check=True)
    engine.docker("commit", "grown", "made:base", check=True)
    base = inspected(engine, "made:base")["Id"]
    engine.docker("rm", "grown", check=True)
    engine.docker("run", "--name", "grown", "--network", "none", "made:base", "touch", "/y", check=True)
    engine.docker("commit", "grown", "made:of-made", check=True)
    made = inspected(engine, "made:of-made")
    listed = {image["Id"]: image["ParentId"] for image in client.api.images()}
    assert (made["Parent"], listed[made["Id"]]) == (base, base)
    engine.docker("rm", "grown", check=True)
    engine.docker("rmi", "made:base", check=True)
    assert inspected(engine, "made:of-made")["Parent"] == ""
    assert engine.docker("run", "--rm", "--network", "none", "made:of-made", "ls", "/x", "/y", check=True)


def test_a_running_container_is_paused_meanwhile_or_not(engine, client, tidy):
    tidy("runs")
    tidy("made:2")
    engine.docker("run", "-d", "--name", "runs", "--network", "none", "busybox", "sleep", "1000", check=True)
    for pause in (True, False):
        client.containers.get("runs").commit("made", "2", pause=pause)
        assert client.containers.get("runs").status == "running"
    events = client.events(
        since=1, until=int(time.time()) + 1, decode=True, filters={"event": ["pause", "commit"]}
    )
    actions = [event["Action"] for event in events if event["Actor"]["Attributes"].get("name") == "runs"]
    assert actions == ["pause", "commit", "commit"]


def test_nothing_changed_is_no_layer(engine, tidy):
    tidy("same")
    tidy("made:3")
    engine.docker("create", "--name", "same", "--network", "none", "busybox", "true", check=True)
    engine.docker("commit", "same", "made:3", check=True)
    assert inspected(engine, "made:3")["RootFS"] == inspected(engine, "busybox")["RootFS"]


def test_an_image_on_the_machine_is_used_here_and_refused_elsewhere(engine, tidy, tmp_path_factory):
    tidy("onhost")
    tidy("made:4")
    script = "echo mine >/etc/mine"
    run = ("run", "--network", "none")
    engine.docker(*run, "--name", "onhost", "host", "sh", "-c", script, check=True)
    engine.docker("commit", "onhost", "made:4", check=True)
    facts = inspected(engine, "made:4")
    assert len(facts["RootFS"]["Layers"]) == 1
    assert facts["Size"] < 100_000  # only what changed
    done = engine.docker(*run, "--rm", "made:4", "sh", "-c", "cat /etc/mine /etc/os-release", check=True)
    assert done.stdout.startswith(b"mine\n")
    assert b"Debian" in done.stdout
    assert engine.docker(*run, "--rm", "made:4", "cat", "/etc/shadow").returncode == 1
    saved = engine.docker("save", "made:4", check=True).stdout
    engine.docker("rm", "onhost", check=True)
    engine.docker("rmi", "made:4", check=True)
    assert engine.docker("load", input=saved).returncode == 0
    other = RealEngine(tmp_path_factory.mktemp("other"))
    try:
        other.start()
        refused = other.docker("load", input=saved)
        assert b"stands on the files of another machine" in refused.stderr
        assert not other.docker("images", "-q", "made").stdout
    finally:
        other.destroy()


def test_cve_2014_6408_a_strangers_image_cannot_claim_the_machine(engine):
    claim = {"dev.onggi.base": {"name": "host", "seal": "0" * 64}}
    refused = engine.docker("load", input=docker_archive([layer({"x": b""})], tags=["claims:1"], **claim))
    assert b"stands on the files of another machine" in refused.stderr
    assert not engine.docker("images", "-q", "claims").stdout


def test_bad_commits(engine, client, tidy):
    tidy("bad")
    engine.docker("create", "--name", "bad", "--network", "none", "busybox", "true", check=True)
    for arguments, words in [
        (("commit", "nosuch", "x"), b"No such container: nosuch"),
        (("commit", "-c", "RUN x", "bad", "x"), b"RUN is not a valid change command"),
        (("commit", "bad", "UPPER"), b"must be lowercase"),
        (("commit", "bad", "host"), b"belongs to the view"),
    ]:
        done = engine.docker(*arguments)
        assert done.returncode == 1
        assert words in done.stderr, done
    with pytest.raises(APIError, match="invalid JSON"):
        client.api.commit("bad", conf={"Env": 3})
