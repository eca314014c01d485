"""Registries on loopback, and repositories of them with quick patience."""

import contextlib
import shutil
import socket
from pathlib import Path

import pytest
from fake_registry import TLS, FakeRegistry

from onggi.oci import reference
from onggi.registry import settings as registry_settings
from onggi.registry.credentials import Keyring
from onggi.registry.session import Session
from onggi.registry.settings import Limits, Settings

QUICK = Limits(backoff_s=0.01, connect_s=30, read_s=30)


@pytest.fixture
def registries():
    """A function that makes fake registries; closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            made = FakeRegistry(**options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def fake(registries):
    return registries()


@pytest.fixture
def opened():
    """A function: Repository of ``name`` at a registry (``host:port``); its session is closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_repository(
            host, name="library/thing:latest", *, auth=None, cancel=None, pushing=False, **settings
        ):
            settings.setdefault("limits", QUICK)
            keyring = Keyring({host: auth}) if auth else None
            session = stack.enter_context(Session(Settings(**settings), keyring))
            return session.repository(reference.parse(f"{host}/{name}"), cancel, pushing=pushing)

        yield open_repository


@pytest.fixture
def strict(monkeypatch):
    """Loopback is not insecure by itself: what is there must prove who it is, like everybody else."""
    monkeypatch.setattr(registry_settings, "_LOOPBACK", ())


@pytest.fixture
def trusting(tmp_path):
    """A function: cert_dirs that trust the test authority for some hosts."""

    def trust(*hosts):
        for host in hosts:
            directory = tmp_path / "certs.d" / host
            directory.mkdir(parents=True)
            shutil.copy(Path(TLS) / "ca.pem", directory / "ca.crt")
        return (str(tmp_path / "certs.d"),)

    return trust


@pytest.fixture
def names(monkeypatch):
    """A dict of names to addresses that the resolver then knows."""
    known = {}
    real = socket.getaddrinfo

    def look_up(host, *args, **options):
        return real(known.get(host, host), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known
