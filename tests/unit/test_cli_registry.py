"""``registry serve``: what the engine is asked for, and what is printed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine

SOURCE = Path(__file__).resolve().parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
LINES = b'{"Address":"127.0.0.1:5000"}\r\n{"Line":"127.0.0.1 200 2 0ms - GET /v2/ curl"}\r\n'


@pytest.fixture
def engine(tmp_path):
    fake = FakeEngine(tmp_path)
    fake.routes["POST /onggi/v1/registry/serve"] = (200, LINES)
    yield fake
    fake.close()


def serve(engine, *arguments):
    command = [sys.executable, "-I", "-c", BOOT, str(SOURCE), "registry", "serve", *arguments]
    environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(engine.path.parent)}
    done = subprocess.run(
        command, env=environment, cwd=engine.path.parent, capture_output=True, text=True, timeout=60
    )
    asked = [it for it in engine.requests if it.path.endswith("serve")]
    return done, asked[-1] if asked else None


def test_nothing_given(engine):
    done, asked = serve(engine)
    assert done.stdout.splitlines() == [
        "Serving the images of this engine on http://127.0.0.1:5000",
        "127.0.0.1 200 2 0ms - GET /v2/ curl",
    ]
    assert asked.json == {
        "Address": "127.0.0.1:5000", "Mirror": "", "ReadOnly": False, "Insecure": False, "Htpasswd": "",
        "Certificate": "", "Key": "",
    }  # fmt: skip


def test_everything_given(engine):
    done, asked = serve(
        engine, "-a", ":5000", "--htpasswd", "users", "--tls-cert", "/c.pem", "--tls-key", "k.pem",
        "--read-only", "--insecure", "-q",
    )  # fmt: skip
    assert done.stdout == "Serving the images of this engine on https://127.0.0.1:5000\n"
    here = str(engine.path.parent)
    assert asked.json == {
        "Address": ":5000", "Mirror": "", "ReadOnly": True, "Insecure": True, "Htpasswd": f"{here}/users",
        "Certificate": "/c.pem", "Key": f"{here}/k.pem",
    }  # fmt: skip


def test_a_mirror_gets_our_credentials_for_it(engine):
    auths = {"auths": {"up.example:5000": {"auth": "YW5uOnNlY3JldA=="}}}  # ann:secret
    (engine.path.parent / "config.json").write_text(json.dumps(auths))
    done, asked = serve(engine, "--mirror", "https://up.example:5000/")
    assert done.stdout.startswith("Serving https://up.example:5000/ on http://127.0.0.1:5000\n")
    assert asked.headers["x-registry-auth"]
    _, other = serve(engine, "--mirror", "https://other.example")
    assert other.headers["x-registry-auth"] != asked.headers["x-registry-auth"]


def test_a_refusal(engine):
    engine.routes["POST /onggi/v1/registry/serve"] = (400, {"message": "no"})
    done, _ = serve(engine)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no" in done.stderr
