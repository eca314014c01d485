"""Who has which cache mount: nothing is remembered of those that nobody has."""

import asyncio
import os

from onggi.build.holders import Locks, Shelf, Wish, digest, make

NAME = digest(Wish("cache"))


def test_nothing_is_remembered_of_caches_that_nobody_has():
    async def use(locks):
        for sharing in ("locked", "private", "shared"):
            async with locks.use(NAME, sharing) as directory:
                assert locks.has(directory)
                assert not locks.has(digest(Wish("other")))
        assert not locks.has(NAME)
        return locks._users

    assert asyncio.run(use(Locks())) == {}


def test_who_waits_for_a_cache_has_it_next_and_who_gives_up_is_forgotten():
    async def use(locks):
        begun, order = asyncio.Event(), []

        async def one(name):
            begun.set()
            async with locks.use(NAME, "locked"):
                order.append(name)

        async with locks.use(NAME, "locked"):
            tasks = [asyncio.create_task(one(name)) for name in ("leaves", "waits")]
            await begun.wait()
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            assert order == []
        await tasks[1]
        return order, locks._users

    assert asyncio.run(use(Locks())) == (["waits"], {})


def test_private_caches_are_the_first_that_are_free():
    async def use(locks):
        async with locks.use(NAME, "private") as one:
            async with locks.use(NAME, "private") as two:
                assert (one, two) == (f"{NAME}.0", f"{NAME}.1")
            async with locks.use(NAME, "private") as two:
                assert two == f"{NAME}.1"

    asyncio.run(use(Locks()))


def test_directories_are_measured_when_they_were_used(tmp_path):
    shelf = Shelf(str(tmp_path / "caches"))
    assert shelf.entries() == []
    path = f"{shelf.path}/{NAME}"
    os.makedirs(os.path.dirname(path))
    make(path, Wish("cache", 0o755, os.getuid(), os.getgid()))
    (entry,) = shelf.entries()
    assert (entry.key, entry.description, entry.size) == (NAME, "cached mount cache", 0)
    with open(f"{path}/fs/file", "wb") as file:
        file.write(b"x" * 5000)
    assert shelf.entries()[0].size == 0
    os.utime(f"{path}/name", (5, 5))
    assert shelf.entries()[0].size == 8192
    aside = shelf.put_aside(NAME)
    assert (shelf.entries(), os.path.isdir(aside)) == ([], True)
    shelf.recover()
    assert os.listdir(shelf.path) == []
