"""What a request asks of every step: limits, networks, names, times; and what is refused by name."""

import base64
import contextlib
import io
import json
import tarfile
import urllib.parse

import pytest

from builds import Builds, Done, Wire
from docker_registry import DockerRegistry


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def test_limits_hold_for_steps(builds):
    done = builds.build(
        "FROM busybox\nRUN ulimit -n; df -k /dev/shm | tail -1; cat /etc/hosts",
        "--ulimit", "nofile=77:77", "--shm-size", "8m", "--add-host", "other:10.9.8.7", "--no-cache",
    )  # fmt: skip
    assert "\n77\n" in done.output
    assert " 8192 " in done.output
    assert "10.9.8.7\tother\n" in done.output


def test_memory_and_processors_are_limited(builds):
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true"
    done = builds.build(f"FROM busybox\nRUN {read}", "--memory", "64m", "--no-cache")
    assert "\n67108864\n" in done.output


def test_networks_of_steps(builds):
    text = "FROM busybox\nRUN{} ls /sys/class/net | tr '\\n' ' '"
    assert "\neth0 lo " in builds.build(text.format(""), "--no-cache").output
    assert "\nlo " in builds.build(text.format(" --network=none"), "--no-cache").output
    assert "\nlo " in builds.build(text.format(""), "--network", "none", "--no-cache").output
    host = builds.build(text.format(" --network=host"), "--network", "host", "--no-cache")
    assert "eth0" not in host.output


def test_a_step_asks_for_the_machines_network_where_that_is_allowed(builds, engine):
    builds.write(
        "Dockerfile",
        "FROM busybox\nRUN --network=host ls /sys/class/net | tr '\\n' ' '\nRUN ls /sys/class/net",
    )
    build = ["build", "--progress=plain", "--no-cache"]
    allowed = engine.onggi(*build, "--allow=network.host", str(builds.context))
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stderr.count(b"eth0") == 1
    for flags, words in (
        ([], b"network.host is not allowed: build with --allow=network.host"),
        (["--allow=device"], b"entitlement device is not supported"),
    ):
        done = engine.onggi(*build, *flags, str(builds.context))
        assert done.returncode == 1
        assert words in done.stderr


def test_a_step_asks_for_every_right_where_that_is_allowed(builds, engine):
    text = "RUN {}grep CapEff /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null && echo mounted; true\n"
    builds.write("Dockerfile", "FROM busybox\n" + text.format("--security=insecure ") + text.format(""))
    build = ["build", "--progress=plain"]
    refused = engine.onggi(*build, str(builds.context))
    assert b"security.insecure is not allowed: build with --allow=security.insecure" in refused.stderr
    allowed = engine.onggi(*build, "--allow=security.insecure", str(builds.context))
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stderr.count(b" mounted\n") == 1
    assert allowed.stderr.count(b"CapEff:\t00000000a80425fb") == 1
    builds.write("Dockerfile", "FROM busybox\n" + text.format(""))
    other = engine.onggi(*build, str(builds.context))
    assert b"CapEff:\t00000000a80425fb" in other.stderr, "it is another step"


def test_arguments_for_the_builder(builds):
    """Those of BuildKit, through docker's own parameters."""
    text = "FROM busybox\nRUN --mount=type=cache,target=/c hostname > /{0}; cat /c/word; echo {1} > /c/word"
    first = builds.build(text.format("a", "one"), "--build-arg=BUILDKIT_CACHE_MOUNT_NS=ns")
    assert "BUILDKIT" not in first.output
    other = builds.build(
        text.format("b", "two"),
        "--build-arg=BUILDKIT_SANDBOX_HOSTNAME=h",
        "--build-arg=BUILDKIT_INLINE_CACHE=1",
    )
    assert "\none\n" not in other.output
    assert builds.run(other.tag, "cat", "/b") == "h\n"
    again = builds.build(text.format("b", "two"), "--build-arg=BUILDKIT_CACHE_MOUNT_NS=ns")
    assert "\none\n" in again.output
    assert builds.run(again.tag, "cat", "/b") == "buildkitsandbox\n"
    assert ["moby.buildkit.cache.v0" in configuration(builds, it.tag) for it in (first, other)] == [
        False,
        True,
    ]
    refused = builds.build("FROM busybox", "--build-arg=BUILDKIT_MULTI_PLATFORM=1", check=False)
    assert "BUILDKIT_MULTI_PLATFORM is not supported" in refused.errors


def configuration(builds, tag):
    saved = builds.engine.docker("save", tag, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        name = json.load(archive.extractfile("manifest.json"))[0]["Config"]
        return json.load(archive.extractfile(name))


def test_the_view_of_the_machine_is_a_base(builds):
    builds.write("file", "x")
    done = builds.build(
        "FROM host\nRUN echo made > /made-here\nCOPY file /usr/lib/copied\nCMD cat /made-here"
    )
    assert builds.run(done.tag) == "made\n"
    again = builds.build(f"FROM {done.tag}\nRUN cat /made-here /usr/lib/copied", "--no-cache")
    assert "\nmade\nx" in again.output


def test_other_platforms_are_not_mixed_up(builds):
    done = builds.build("FROM --platform=linux/arm64 busybox\nRUN true", check=False)
    assert done.code == 1
    scratch = builds.build("FROM scratch\nCOPY Dockerfile /\n", "--platform", "linux/arm64")
    assert (scratch.image["Architecture"], scratch.image["Os"]) == ("arm64", "linux")


def test_a_fixed_time(builds):
    done = builds.build(
        "FROM busybox\nRUN touch /file", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", "--no-cache"
    )
    assert done.image["Created"] == "2001-09-09T01:46:40Z"
    assert builds.run(done.tag, "stat", "-c", "%Y", "/file") == "1000000000\n"
    wrong = builds.build("FROM busybox", "--build-arg", "SOURCE_DATE_EPOCH=soon", check=False)
    assert "invalid SOURCE_DATE_EPOCH" in wrong.errors


@pytest.mark.parametrize(
    "query",
    [
        {"outputs": '[{"Type":"local"}]'}, {"version": "2"},
        {"session": "abc"}, {"securityopt": '["seccomp=unconfined"]'}, {"isolation": "hyperv"},
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(engine, query):
    told = Wire(engine, {"Dockerfile": "FROM busybox\n"}, **query).rest()
    assert told.startswith(("HTTP/1.1 501", "HTTP/1.1 400"))
    assert any(word in told for word in ("not supported", "invalid isolation"))


def squashed(builds, text):
    """By our command: docker's asks for an experimental daemon first."""
    builds.write("Dockerfile", text)
    done = builds.engine.onggi("build", "--squash", "-t", "squashed", str(builds.context))
    assert done.returncode == 0, done.stderr
    return Done(0, "", "", "squashed", builds.inspect("squashed"))


def test_layers_are_squashed_into_one(builds):
    base = builds.build("FROM busybox\nRUN mkdir /d && echo 1 > /d/a && echo 1 > /d/gone && echo 1 > /d/b")
    builds.write("file", "f")
    text = f"""FROM {base.tag}
    RUN rm /d/gone && echo 2 > /d/b && mkdir /new && echo n > /new/f && touch /only-between && ln /d/b /d/c
    ENV A=1
    COPY file /d/
    RUN rm /only-between
    CMD ["a"]
    """
    whole, flat = builds.build(text), squashed(builds, text)
    layers = flat.image["RootFS"]["Layers"]
    assert layers[:-1] == base.image["RootFS"]["Layers"]
    list_all = (
        "sh",
        "-c",
        "find /bin /d /home /new /root /usr /var | sort | xargs ls -ldn",
    )
    assert builds.run(flat.tag, *list_all) == builds.run(whole.tag, *list_all)
    assert builds.run(flat.tag, "cat", "/d/a", "/d/b", "/d/c", "/d/file", "/new/f") == "1\n2\n2\nfn\n"
    names = builds.members(flat.tag)
    assert {"d/.wh.gone", "d/b", "d/c", "d/file", "new/f"} <= names
    assert not {it for it in names if "only-between" in it or it.startswith("bin/")}
    assert flat.history[0]["Comment"] == f"merge {whole.id} to {base.id}"
    assert [it["Size"] for it in flat.history[1:6]] == ["0B"] * 5
    assert flat.image["Config"]["Cmd"] == ["a"]
    alone = squashed(builds, "FROM scratch\nCOPY file /a\nCOPY file /b\n")
    assert len(alone.image["RootFS"]["Layers"]) == 1
    assert squashed(builds, text).id == flat.id


def test_a_build_is_cancelled_by_its_id(engine, client):
    wire = Wire(engine, {"Dockerfile": "FROM busybox\nRUN echo begun; exec sleep 3600"}, buildid="it")
    wire.until(b'"begun\\n"')
    url = client.api._url("/build/cancel")
    assert client.api._post(url, params={"id": "none"}).status_code == 404
    assert client.api._post(url, params={"id": "it"}).status_code == 200
    assert "build cancelled" in wire.rest()


def test_registry_credentials_of_a_wrong_shape(client):
    url = client.api._url("/build") + "?" + urllib.parse.urlencode({"remote": "x"})
    answer = client.api._post(url, headers={"X-Registry-Config": "!"})
    assert (answer.status_code, json.loads(answer.text)["message"]) == (
        400,
        "invalid X-Registry-Config header: expected base64url of JSON",
    )


def test_a_base_behind_a_password(engine, tmp_path):
    """Each registry gets its own credentials, of those that the command sends for all it knows."""
    with contextlib.closing(DockerRegistry(tmp_path / "registry", passwords=True)) as registry:
        base, config = f"{registry.host}/base", ("--config", str(tmp_path / "config"))
        words = ["login", "-u", "kim", "--password-stdin", registry.host]
        engine.docker(*config, *words, input=b"s3cret", check=True)
        engine.docker("tag", "busybox", base, check=True)
        engine.docker(*config, "push", base, check=True)
        engine.docker("rmi", base, check=True)
        (tmp_path / "Dockerfile").write_text(f"FROM {base}\n")
        build = ["build", "-q", str(tmp_path)]
        assert b"no basic auth credentials" in engine.docker(*build).stderr
        known = json.loads((tmp_path / "config/config.json").read_text())
        known["auths"]["other.example"] = {"auth": base64.b64encode(b"kim:other").decode()}
        (tmp_path / "config/config.json").write_text(json.dumps(known))
        engine.docker(*config, *build, check=True)
        engine.docker("rmi", base, check=True)
