"""What builds do once: steps found again, shared, ended with their client; equal steps make equal bits."""

import base64
import contextlib
import io
import json
import os
import re
import socket
import time

import pytest

from builds import Builds, Wire
from engines import DEADLINE_S, RealEngine, wait_until


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def hits(done):
    return done.output.count(" ---> Using cache\n")


def test_steps_are_found_again_by_what_they_are_made_of(builds):
    builds.write("file", "1")
    text = "FROM busybox\nRUN echo cached-{} > /a\nCOPY file /file\nWORKDIR /w\nRUN cat /file\n"
    first = builds.build(text.format(1))
    assert hits(first) == 0
    builds.write("file", "1").touch()
    again = builds.build(text.format(1))
    assert (hits(again), again.id) == (4, first.id)
    os.utime(builds.context / "file", (5, 5))
    assert builds.build(text.format(1)).id == first.id
    builds.write("file", "2")
    changed = builds.build(text.format(1))
    assert hits(changed) == 1
    assert hits(builds.build(text.format(1), "--no-cache")) == 0
    assert builds.build(text.format(1), "--no-cache").id == changed.id


def test_labels_and_commands_do_not_bring_steps_anew(builds):
    text = 'FROM busybox\nLABEL v={}\nRUN echo labelled\nCMD ["{}"]'
    builds.build(text.format(1, "a"))
    assert hits(builds.build(text.format(2, "b"))) == 1
    assert hits(builds.build("FROM busybox\nENV A=1\nRUN echo labelled")) == 0


def test_the_cache_is_shown_and_pruned(builds, engine):
    done = builds.build("FROM busybox\nRUN head -c 3000000 /dev/urandom > /big")
    engine.docker("rmi", done.tag, check=True)
    assert hits(builds.build("FROM busybox\nRUN head -c 3000000 /dev/urandom > /big")) == 1
    rows = json.loads(engine.docker("system", "df", "-v", "--format", "{{json .}}", check=True).stdout)[
        "BuildCache"
    ]
    assert any("urandom" in row["Description"] and row["Size"] == "3MB" for row in rows), rows
    told = engine.onggi("builder", "df", "--verbose").stdout.decode()
    assert re.search(r"Size: +3MB\nDescription: +RUN .*urandom > /big\n", told), told
    assert re.search(r"Shared: .*\nPrivate: .*\nReclaimable: .*\nTotal: ", told), told
    assert len(engine.docker("images", "-aq").stdout.split()) > len(
        engine.docker("images", "-q").stdout.split()
    )
    engine.docker("rmi", f"built{os.getpid()}-2:latest", check=True)
    pruned = engine.docker("builder", "prune", "-af", check=True).stdout.decode()
    assert float(pruned.rpartition("space: ")[2].strip().removesuffix("MB")) >= 3
    assert hits(builds.build("FROM busybox\nRUN head -c 3000000 /dev/urandom > /big")) == 0


def test_cache_mounts_are_shown_and_pruned(builds, engine):
    text = "FROM busybox\nRUN --mount=type=cache,id=shown,target=/c head -c 5000000 /dev/zero > /c/big"
    builds.build(text, "--no-cache")
    told = json.loads(engine.docker("system", "df", "-v", "--format", "{{json .}}", check=True).stdout)
    (row,) = (row for row in told["BuildCache"] if row["Description"] == "cached mount shown")
    assert (row["CacheType"], row["Size"]) == ("exec.cachemount", "5MB")
    left = "FROM busybox\nRUN --mount=type=cache,id=shown,target=/c ls /c"
    engine.docker("builder", "prune", "-f", "--filter", "type=regular", check=True)
    assert "\nbig\n" in builds.build(left).output
    engine.docker("builder", "prune", "-f", "--filter", "type=exec.cachemount", check=True)
    assert "\nbig\n" not in builds.build(left, "--no-cache").output


def cached(engine):
    """What is kept, by what it is called: (size in bytes, shared)."""
    client = engine.client()
    with contextlib.closing(client):
        rows = client.df()["BuildCache"]
    return {row["Description"].removesuffix(" # buildkit"): (row["Size"], row["Shared"]) for row in rows}


def test_a_prune_keeps_what_was_used_last_and_what_images_share(builds, engine):
    engine.docker("builder", "prune", "-af", check=True)
    text = "FROM busybox\nRUN --mount=type=cache,id={0},target=/c head -c {1} /dev/zero | tee /c/x > /{0}"
    for name in ("first", "second"):
        done = builds.build(text.format(name, 3_000_000))
        engine.docker("rmi", done.tag, check=True)
    builds.build(text.format("third", 4000))
    before = cached(engine)
    assert [shared for name, (_, shared) in before.items() if "/third" in name] == [True]
    assert sum(size for size, _ in before.values()) > 12_000_000
    engine.docker("builder", "prune", "-f", "--keep-storage", "7mb", check=True)
    left = cached(engine)
    assert [name for name in before if name not in left and "first" in name]
    assert {name for name in before if "second" in name or "third" in name} <= set(left)
    engine.docker("builder", "prune", "-f", check=True)
    assert [name.rpartition("/")[2] for name in cached(engine)] == ["third"]
    engine.docker("builder", "prune", "-af", check=True)
    assert cached(engine) == {}


def test_the_policy_of_daemon_json_takes_effect_after_builds(tmp_path):
    engine = RealEngine(tmp_path)
    gc = {"policy": [{"filter": ["type=source.local"]}, {"keepStorage": "2MB"}]}
    (tmp_path / "daemon.json").write_text(json.dumps({"builder": {"gc": gc}}))
    try:
        engine.start()
        engine.import_busybox()
        builds = Builds(engine, tmp_path)
        text = "FROM busybox\nRUN --mount=type=cache,id={0},target=/c head -c {1} /dev/zero | tee /c/x > /{0}"
        done = builds.build(text.format("big", 3_000_000))
        assert hits(builds.build(text.format("big", 3_000_000))) == 1
        wait_until(lambda: "cached mount big" not in cached(engine), "the cache mount to go")
        engine.docker("rmi", "-f", done.id, check=True)
        assert any("/big" in name for name in cached(engine))
        builds.build(text.format("small", 1000))
        wait_until(lambda: not any("/big" in name for name in cached(engine)), "the step to go")
        assert "cached mount small" in cached(engine)
        wait_until(
            lambda: len(list((engine.data_root / "build/caches").iterdir())) == 1, "directories to be removed"
        )
    finally:
        engine.destroy()


def test_a_cache_that_a_step_has_is_not_pruned(builds, engine):
    mount = "--mount=type=cache,id=held,target=/c"
    text = f"FROM busybox\nRUN {mount} echo begun > /c/x; until [ -e /go ]; do sleep 0.05; done; cat /c/x"
    before = running(engine)
    wire = Wire(engine, {"Dockerfile": text.replace("echo", "echo begun; echo")}, t="held", nocache="1")
    wire.until(b'"begun\\n"')
    (container,) = set(running(engine)) - set(before)
    engine.docker("builder", "prune", "-af", check=True)
    assert "cached mount held" in cached(engine)
    engine.docker("exec", container.decode(), "touch", "/go", check=True)
    assert wire.rest().count('"begun\\n"') == 2
    engine.docker("builder", "prune", "-af", check=True)
    assert "cached mount held" not in cached(engine)


def test_a_prune_leaves_what_containers_stand_on(builds, engine):
    done = builds.build("FROM busybox\nRUN echo x > /state\nRUN rm /state")
    step = done.output.split("RUN echo x > /state\n ---> ")[1].split("\n")[0]
    engine.docker("create", "--name", "on-a-step", "--network=none", step, "cat", "/state", check=True)
    engine.docker("rmi", done.tag, check=True)
    engine.docker("builder", "prune", "-af", check=True)
    engine.docker("image", "inspect", step, check=True)
    assert engine.docker("start", "-a", "on-a-step").stdout == b"x\n"
    engine.docker("rm", "on-a-step", check=True)


def test_every_step_is_an_image_to_run(builds):
    done = builds.build("FROM busybox\nRUN echo halfway > /state\nRUN rm /state")
    step = done.output.split("RUN echo halfway > /state\n ---> ")[1].split("\n")[0]
    assert builds.run(step, "cat", "/state") == "halfway\n"
    shown = json.loads(builds.engine.docker("system", "df", "-v", "--format", "json", check=True).stdout)
    assert not [image for image in shown["Images"] if step in image["ID"]]


def running(engine):
    return engine.docker("ps", "-q").stdout.split()


def test_who_leaves_ends_the_step(engine):
    before = running(engine)
    wire = Wire(engine, {"Dockerfile": "FROM busybox\nRUN echo begun; exec sleep 3600"}, t="left")
    wire.until(b'"begun\\n"')
    (container,) = set(running(engine)) - set(before)
    wire.socket.close()
    wait_until(lambda: container not in running(engine), "the step to end")
    wait_until(
        lambda: not any(it.name != "caches" for it in (engine.data_root / "build").iterdir()), "files stay"
    )
    assert b"left" not in engine.docker("images").stdout


def test_two_builds_share_a_step(engine):
    marker = f"shared-{time.time_ns()}"
    text = f"FROM busybox\nRUN echo {marker}; until [ -e /go ]; do sleep 0.05; done; date +%N > /once"
    before = running(engine)
    one, two = (Wire(engine, {"Dockerfile": text}, t=f"share{number}") for number in (1, 2))
    one.until(marker.encode() + b"\\n")
    two.until(marker.encode() + b"\\n")
    (container,) = set(running(engine)) - set(before)
    engine.docker("exec", container.decode(), "touch", "/go", check=True)
    assert "Successfully built" in one.rest()
    assert "Successfully built" in two.rest()
    one, two = (engine.docker("image", "inspect", "-f", "{{.Id}}", f"share{it}").stdout for it in (1, 2))
    assert one == two


def test_a_shared_step_goes_on_when_one_leaves(engine):
    marker = f"left-{time.time_ns()}"
    text = f"FROM busybox\nRUN echo {marker}; until [ -e /go ]; do sleep 0.05; done"
    before = running(engine)
    one, two = (Wire(engine, {"Dockerfile": text}, t=f"stay{number}") for number in (1, 2))
    one.until(marker.encode() + b"\\n")
    two.until(marker.encode() + b"\\n")
    one.socket.close()
    (container,) = set(running(engine)) - set(before)
    engine.docker("exec", container.decode(), "touch", "/go", check=True)
    assert "Successfully tagged stay2:latest" in two.rest()


def test_independent_stages_run_at_once(engine):
    wait = "until [ -e /meet/{other} ]; do sleep 0.02; done"
    text = "".join(
        f"FROM busybox AS {name}\nRUN --mount=type=cache,id=meet-{time.time_ns()},target=/meet "
        f"rm -f /meet/x; touch /meet/{name}; {wait.format(other=other)}\n"
        for name, other in (("a", "b"), ("b", "a"))
    )
    ids = [word for word in text.split(",") if word.startswith("id=")]
    text = text.replace(ids[1], ids[0])
    text += "FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    assert "Successfully built" in Wire(engine, {"Dockerfile": text}, t="both").rest()


def test_secrets_reach_steps_and_nothing_else(engine):
    secret = "s3cret-" + os.urandom(8).hex()
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=key,uid=1000 "
        "stat -c '%a %u' /run/secrets/key; sha256sum < /run/secrets/key > /sum; ls -l /run > /run-after\n"
        "RUN --mount=type=secret,id=key,env=TOKEN echo length ${#TOKEN}; test ! -e /run/secrets\n"
    )
    header = {"Secrets": {"key": base64.b64encode(secret.encode()).decode()}, "Details": True}
    told = Wire(engine, {"Dockerfile": text}, header, t="secret").rest()
    assert "400 1000" in told
    assert f"length {len(secret)}" in told
    assert '"Event":"done"' in told
    assert secret not in told
    found = engine.docker(
        "run", "--rm", "--network=none", "secret", "sh", "-c", "ls /run/secrets /run"
    ).stdout
    assert found == b""
    for top in (engine.data_root, engine.exec_root):
        for directory, _, names in os.walk(top):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # spares go
                        assert secret.encode() not in file.read(), path


def test_a_secret_variable_is_that_of_its_own_build(engine):
    text = "FROM busybox\nRUN --mount=type=secret,id=key,env=TOKEN echo got-[$TOKEN]"
    for value in ("first", "second"):
        header = {"Secrets": {"key": base64.b64encode(value.encode()).decode()}}
        told = Wire(engine, {"Dockerfile": text}, header, t="token", nocache="1").rest()
        assert f"got-[{value}]" in told
    assert "got-[]\\n" in Wire(engine, {"Dockerfile": text}, t="token", nocache="1").rest()
    assert b"TOKEN=" not in engine.docker("image", "inspect", "token").stdout


def test_docker_py_builds(builds, client):
    builds.write("Dockerfile", "FROM busybox\nARG A\nRUN echo $A\nCOPY . /all/")
    image, log = client.images.build(path=str(builds.context), tag="by-py", buildargs={"A": "given"}, rm=True)
    assert image.tags == ["by-py:latest"]
    assert any(line.get("stream") == "given\n" for line in log)
    told = list(client.api.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3"), decode=True))
    message = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert told[-1] == {"errorDetail": {"code": 3, "message": message}, "error": message}


def test_a_dockerfile_on_stdin_and_an_iidfile(builds, tmp_path):
    done = builds.command("-q", "-", input="FROM busybox\nRUN echo quiet")
    assert done.stdout.startswith("sha256:")
    assert len(done.stdout.split()) == 1
    builds.write("file", "x")
    done = builds.command(
        "-f", "-", "--iidfile", str(tmp_path / "iid"), str(builds.context), input="FROM busybox\nCOPY file /"
    )
    assert done.returncode == 0, done
    assert (done.returncode, (tmp_path / "iid").read_text()[:7]) == (0, "sha256:")


def test_buildkits_sessions_are_refused_at_once(engine):
    for path in ("/session", "/grpc"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(str(engine.socket))
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            client.sendall(head.encode())
            answer = client.recv(65536)
        assert b" 501 " in answer
        assert b"DOCKER_BUILDKIT=0" in answer


def test_two_stores_make_one_image(tmp_path):
    """Other data roots, clocks of files, umasks and orders; the base is the same."""
    base, ids = tmp_path / "base.tar", []
    for name, mask in (("one", 0o022), ("two", 0o077)):
        engine = RealEngine(tmp_path / name)
        engine.directory.mkdir()
        before = os.umask(mask)
        try:
            engine.start()
            if name == "one":
                engine.import_busybox()
                base.write_bytes(engine.docker("save", "busybox", check=True).stdout)
            else:
                engine.docker("load", "-i", str(base), check=True)
            builds = Builds(engine, tmp_path / name)
            for file in ("b", "a") if mask == 0o077 else ("a", "b"):
                builds.write(f"src/{file}", file)
            (builds.context / "src").chmod(0o755)
            done = builds.build(
                """
                FROM busybox AS tool
                RUN mkdir /out && echo made > /out/made && hostname > /out/host
                FROM busybox
                COPY src /src
                COPY --from=tool /out /out
                WORKDIR /new/deep
                RUN echo x > here && touch -d @5 old
                """
            )
            ids.append(done.id)
        finally:
            os.umask(before)
            engine.destroy()
    assert ids[0] == ids[1]


def test_a_kill_leaves_finished_steps_and_nothing_else(tmp_path):
    engine = RealEngine(tmp_path)
    try:
        engine.start()
        engine.import_busybox()
        text = "FROM busybox\nRUN echo finished > /one\nRUN echo begun; exec sleep 3600\n"
        wire = Wire(engine, {"Dockerfile": text}, t="killed")
        wire.until(b'"begun\\n"')
        engine.kill()
        engine.start()
        assert running(engine) == []
        assert engine.docker("ps", "-aq").stdout == b""
        assert [it for it in (engine.data_root / "build").iterdir() if it.name != "caches"] == []
        told = Wire(engine, {"Dockerfile": text.replace("exec sleep 3600", "true")}, t="again").rest()
        assert told.count("Using cache") == 1
        wire.socket.close()
        checked = engine.onggi("system", "fsck")
        assert checked.returncode == 0, checked.stdout
    finally:
        engine.destroy()
