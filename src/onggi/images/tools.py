"""What every way in and out works with."""

from __future__ import annotations

from typing import NamedTuple

from onggi.images.flights import Workers
from onggi.images.hostbase import Seals
from onggi.images.layering import Intake
from onggi.images.service import Images
from onggi.store.content import Content


class Tools(NamedTuple):
    """One store's, shared by all transfers."""

    content: Content
    intake: Intake
    images: Images
    workers: Workers
    seals: Seals
