"""Users of a registry: the file's format, who is let in, and what is never said."""

import base64

import bcrypt
import pytest

from onggi.errors import InvalidArgument
from onggi.registry.server import htpasswd
from onggi.registry.server.htpasswd import Users


def hashed(password, prefix=b"2b", cost=4):
    return bcrypt.hashpw(password, bcrypt.gensalt(cost, prefix=prefix)).decode()


ANN = hashed(b"secret")


def test_right_and_wrong_passwords():
    users = Users(f"# users\n\nann:{ANN}\nbob:{hashed(b'other').replace('$2b$', '$2y$')}\r\n")
    assert users.check("ann", b"secret")
    assert users.check("bob", b"other")
    for name, password in [
        ("ann", b"other"),
        ("ann", b""),
        ("nobody", b"secret"),
        ("", b"secret"),
        ("ann", b"secret\0"),
    ]:
        assert not users.check(name, password)


def test_only_what_was_right_is_remembered():
    users = Users(f"ann:{ANN}")
    assert not users.remembered("ann", b"secret")
    users.check("ann", b"wrong"), users.check("nobody", b"secret"), users.check("ann", b"secret")
    assert users.remembered("ann", b"secret")
    for name, password in [
        ("ann", b"wrong"),
        ("nobody", b"secret"),
        ("an", b"n\0secret"),
        ("ann\0", b"secret"),
    ]:
        assert not users.remembered(name, password)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(htpasswd, "_MAX_REMEMBERED", 2)
    users = Users("\n".join(f"u{number}:{ANN}" for number in range(5)))
    for number in range(5):
        assert users.check(f"u{number}", b"secret")
    assert sum(users.remembered(f"u{number}", b"secret") for number in range(5)) <= 2


def test_passwords_longer_than_bcrypt_looks_at():
    users = Users(f"ann:{hashed(b'x' * 72)}")
    assert users.check("ann", b"x" * 100)


def test_a_name_that_does_not_exist_costs_a_hash(monkeypatch):
    """Otherwise the time of an answer tells which names exist."""
    asked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, known: bool(asked.append(known)))
    Users(f"ann:{ANN}").check("nobody", b"x")
    assert asked == [ANN.encode()]


@pytest.mark.parametrize(
    "line",
    [
        "ann", "ann:", ":" + ANN, "ann:secret", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "ann:$apr1$x$JqTbJSoB8x.ahw8BeQOYx0", "ann:" + ANN[:-1], "ann:" + ANN + "x", "ann:$2x" + ANN[3:],
        "ann:" + ANN.replace("$04$", "$31$"), "ann:" + ANN.replace("$04$", "$03$"),
    ],
    ids=lambda _: "line",  # each has a salt of its own, and workers must agree on names
)  # fmt: skip
def test_lines_that_are_refused(line):
    with pytest.raises(InvalidArgument, match="line 2") as refused:
        Users(f"bob:{ANN}\n{line}\n")
    assert "$2" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_without_users():
    with pytest.raises(InvalidArgument, match="no users"):
        Users("# nobody\n")


def basic(text):
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (basic(b"ann:sec:ret"), ("ann", b"sec:ret")), (basic("ü:ü".encode()), ("ü", "ü".encode())),
        (basic(b"ann"), None), ("Bearer abc", None), ("Basic !!!", None), ("Basic", None),
        ("", None), (basic(b"\xff:x"), None),
        ("basic " + base64.b64encode(b"a:").decode(), ("a", b"")),
    ],
)  # fmt: skip
def test_authorization_headers(header, found):
    assert htpasswd.basic(header) == found
