"""What every way in and out works with."""

from __future__ import annotations

from typing import NamedTuple

from onggi.images.flights import Workers
from onggi.images.hostbase import Seals
from onggi.images.layering import Intake
from onggi.images.service import Images
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference
from onggi.registry.credentials import Keyring
from onggi.store.content import Content


class RemoteWish(NamedTuple):
    """What is to be pulled or pushed (a repository's tag, or all tags if there is none), and with whose
    credentials.
    """

    reference: Reference
    platform: Platform | None
    keyring: Keyring


class Tools(NamedTuple):
    """One store's, shared by all transfers."""

    content: Content
    intake: Intake
    images: Images
    workers: Workers
    seals: Seals
