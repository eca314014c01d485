"""``build --ssh``: a step talks to the agent of the person who builds."""

import socket
import threading

import pytest

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
    (tmp_path / "c").mkdir()
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


def test_a_connection_needs_a_build(client):
    url = client.api._url("/onggi/v1/build/ssh").replace("/v" + client.api._version, "")
    assert client.api._post(url, params={"token": "0" * 32}).status_code == 404
