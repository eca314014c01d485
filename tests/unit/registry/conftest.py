"""``fake``: a registry on loopback; ``opened``: a function that gives a Repository of one; quick patience."""

import contextlib

import pytest
from fake_registry import FakeRegistry

from onggi.oci import reference
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

        def open_repository(host, name="library/thing:latest", *, auth=None, cancel=None, **settings):
            settings.setdefault("limits", QUICK)
            keyring = Keyring({host: auth}) if auth else None
            session = stack.enter_context(Session(Settings(**settings), keyring))
            return session.repository(reference.parse(f"{host}/{name}"), cancel)

        yield open_repository
