"""``build --ssh``: a step talks to the agent of the person who builds."""

import socket
import subprocess
import threading

import pytest
from test_build_remote import git

from builds import Wire
from engines import DEADLINE_S

ASK = """
import os, socket
for word in (b"one", b"two"):
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(os.environ["SSH_AUTH_SOCK"])
    agent.sendall(word)
    print(os.environ["SSH_AUTH_SOCK"], agent.recv(99).decode())
"""


class Agent:
    """An agent of ours: it says what it heard."""

    def __init__(self, path, name):
        self.path, self.name, self.heard = str(path), name, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                talk, _ = self.socket.accept()
            except OSError:
                return
            with talk:
                talk.settimeout(DEADLINE_S)
                self.heard.append(talk.recv(99))
                talk.sendall(f"{self.name} heard {self.heard[-1].decode()}".encode())


@pytest.fixture
def agents(tmp_path):
    found = [Agent(tmp_path / name, name) for name in ("first", "second")]
    yield found
    for agent in found:
        agent.socket.shutdown(socket.SHUT_RDWR)
        agent.socket.close()


@pytest.fixture
def build(engine, tmp_path):
    (tmp_path / "c").mkdir(exist_ok=True)
    (tmp_path / "c" / "ask.py").write_text(ASK)

    def run(steps, *flags):
        (tmp_path / "c" / "Dockerfile").write_text(f"FROM host\nCOPY ask.py /var/ask.py\n{steps}")
        done = engine.onggi("build", "--progress=plain", "--no-cache", *flags, str(tmp_path / "c"))
        return done.returncode, done.stderr.decode()

    return run


def test_steps_talk_to_the_agents_that_they_name(build, agents):
    steps = "RUN --mount=type=ssh,id=b --mount=type=ssh,id=a,target=/a/sock python3 /var/ask.py\n"
    steps += (
        "RUN --mount=type=ssh,id=a,mode=0666 --network=none stat -c %a $SSH_AUTH_SOCK; python3 /var/ask.py\n"
    )
    steps += "RUN echo then ${SSH_AUTH_SOCK:-none} $(ls -d /run/buildkit /a 2>/dev/null)\n"
    flags = [f"--ssh={name}={agent.path}" for name, agent in zip("ab", agents, strict=True)]
    code, shown = build(steps, *flags)
    assert code == 0, shown
    assert " /run/buildkit/ssh_agent.0 second heard one\n" in shown
    assert " /run/buildkit/ssh_agent.0 first heard two\n" in shown
    assert " 666\n" in shown
    assert " then none\n" in shown
    assert [agent.heard for agent in agents] == [[b"one", b"two"]] * 2


def test_no_agent_comes_unasked(engine, build, agents):
    code, shown = build(
        "RUN --mount=type=ssh,id=other echo ${SSH_AUTH_SOCK:-none} is there\n", f"--ssh=a={agents[0].path}"
    )
    assert code == 0, shown
    assert " none is there\n" in shown
    code, shown = build("RUN --mount=type=ssh,required true\n", f"--ssh=a={agents[0].path}")
    assert code == 1
    assert "unset ssh forward key default: build with --ssh" in shown
    told = Wire(engine, {"Dockerfile": "FROM busybox\nRUN --mount=type=ssh true\n"}).rest()
    assert "RUN --mount=type=ssh needs an agent, which is forwarded by onggi build --ssh" in told
    assert not agents[0].heard


def test_keys_in_files_are_had_by_an_agent_and_are_nowhere_else(engine, build, keys, tmp_path):
    step = "RUN --mount=type=ssh ssh-add -T /var/x.pub /var/y.pub && ! ssh-add -T /var/z.pub && ssh-add -l\n"
    code, shown = build(f"COPY *.pub /var/\n{step}", f"--ssh=default={keys[0]},{keys[1]}")
    assert code == 0, shown
    assert shown.count("(ED25519)") == 2
    secret = keys[0].read_text().splitlines()[2]
    assert subprocess.run(["grep", "-rqF", secret, keys[0]]).returncode == 0
    assert subprocess.run(["grep", "-rqF", secret, engine.data_root, tmp_path / "c"]).returncode == 1


@pytest.fixture
def keys(tmp_path):
    """Files with keys; their public halves are in the context."""
    (tmp_path / "c").mkdir(exist_ok=True)
    found = [tmp_path / name for name in "xyz"]
    for path in found:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        path.with_suffix(".pub").rename(tmp_path / "c" / f"{path.name}.pub")
    return found


def test_a_connection_needs_a_build(client):
    url = client.api._url("/onggi/v1/build/ssh").replace("/v" + client.api._version, "")
    assert client.api._post(url, params={"token": "0" * 32}).status_code == 404


# In the place of ssh: it says how it was called, asks the agent that it was told of, and does the work here.
SSH = """#!/bin/sh
for word; do
    case $word in IdentityAgent=*) agent=${{word#*=}};; UserKnownHostsFile=*) known=${{word#*=}};; esac
    last=$word
done
echo "$@" >> {log}; cat $known >> {log}
SSH_AUTH_SOCK=$agent python3 {ask} >> {log} || exit 9
exec sh -c "$last"
"""


@pytest.fixture
def ssh(tmp_path):
    """What the machine's ssh was called with; the suite is in a mount namespace of its own."""
    log, ask = tmp_path / "log", tmp_path / "ask.py"
    ask.write_text(ASK)
    (tmp_path / "ssh").write_text(SSH.format(log=log, ask=ask))
    (tmp_path / "ssh").chmod(0o755)
    subprocess.run(["mount", "--bind", tmp_path / "ssh", "/usr/bin/ssh"], check=True)
    yield log
    subprocess.run(["umount", "-l", "/usr/bin/ssh"], check=True)


def test_git_is_reached_with_the_agent_and_hosts_of_the_person(engine, agents, ssh, tmp_path):
    work, home = tmp_path / "app.git", engine.directory / ".ssh"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "Dockerfile").write_text("FROM scratch\nADD Dockerfile /by-context\n")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    home.mkdir(exist_ok=True)
    (home / "known_hosts").write_text("h.example ssh-ed25519 AAAA\n")
    address = f"ssh://me@h.example:2222{work}"
    done = engine.onggi("build", "-q", f"--ssh=default={agents[0].path}", address)
    assert done.returncode == 0, done.stderr
    said = ssh.read_text()
    assert "-F none " in said
    for option in ("IdentityFile=none", "StrictHostKeyChecking=yes", "BatchMode=yes", "ForwardAgent=no"):
        assert f"-o {option} " in said
    assert "-p 2222 me@h.example git-upload-pack" in said
    assert "h.example ssh-ed25519 AAAA\n" in said
    assert "first heard one\n" in said
    for flags in ([], [f"--ssh=other={agents[0].path}"]):
        done = engine.onggi("build", *flags, address)
        assert done.returncode == 1
        assert (
            b"repositories behind ssh need your agent: onggi build --ssh default; or use https" in done.stderr
        )
