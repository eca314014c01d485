"""The metadata database: SQLite in WAL mode, all of it on one thread, checkpoints included.

A commit with ``durable`` survives power loss when ``run`` returns, with all files that rows name; any other
survives every kill, and becomes durable with the next durable one. Nothing of SQLite ever runs on the event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from errno import EIO, ENOSPC
from functools import partial
from typing import Any, TypeVar

from onggi.errors import DataLoss, KernelError, OnggiError, Unavailable
from onggi.kernel.failpoints import failpoint
from onggi.store.schema import Migration, migrate
from onggi.store.space import Reserve
from onggi.store.unsettled import Unsettled

T = TypeVar("T")
_Job = Callable[[sqlite3.Connection], None]

_BUSY_S = 10.0
_CHECKPOINT_BYTES = 4 << 20  # when nobody waits
_CHECKPOINT_LIMIT = 32 << 20  # even when somebody waits


class Database:
    """Runs functions of a connection, each in a transaction of its own, in the order of the calls; but a
    durable one first waits for a sync of files that are ``unsettled``.
    """

    def __init__(self, path: str, migrations: Sequence[Migration]) -> None:
        """Open or create the file (mode 0600) and migrate it. Raises Unsupported, DataLoss or KernelError."""
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = self._doubtful = False
        self._reserve = Reserve(f"{path}-reserve")
        self.on_lost: Callable[[], None] = lambda: None  # rows went that were believed to stay
        self._syncer = ThreadPoolExecutor(1, "sync")  # one: who comes later finds it done, and waits in order
        self.unsettled = Unsettled(os.path.dirname(path) or ".")
        opened: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._main, args=(list(migrations), opened), name="database", daemon=True
        )
        self._thread.start()
        if error := opened.get():
            self._thread.join()
            raise error

    async def run(
        self,
        fn: Callable[[sqlite3.Connection], T],
        *,
        durable: bool = False,
        frees: bool = False,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Return ``fn(connection)``, committed; if it raises, nothing is changed and the error comes here.

        ``after`` runs on the database thread behind the commit: for the few file operations that must not
        precede it (DECISIONS: rows go first, files second). ``frees``: what makes room on the disk is
        done on a full one too; ``fn`` may be called twice. A cancelled caller does not stop the work.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job(connection: sqlite3.Connection) -> None:
            try:
                result = self._commit(connection, fn, durable, frees)
                if after is not None:
                    after(result)
            except BaseException as error:
                _deliver(loop, future.set_exception, future, error)
            else:
                _deliver(loop, future.set_result, future, result)

        if durable and self.unsettled.pending and not self._closed:
            # Beside the database's thread, and to its end whatever becomes of the caller.
            refuse = partial(_deliver, loop, future.set_exception, future)
            self._syncer.submit(self._sync_and_put, job, refuse)
        else:
            self._put(job)
        return await future

    def _sync_and_put(self, job: _Job, refuse: Callable[[OnggiError], None]) -> None:
        with contextlib.suppress(KernelError):  # which the transaction meets again
            self.unsettled.sync()
        try:
            self._put(job)
        except Unavailable as error:
            refuse(error)

    async def settle(self) -> None:
        """Have every row and its files on the disk, if anything is not."""
        if self.unsettled.rows:
            await self.run(lambda it: None, durable=True)

    def run_blocking(self, fn: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """``run`` for callers without an event loop: start-up and tests."""
        answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def job(connection: sqlite3.Connection) -> None:
            try:
                answers.put((True, self._commit(connection, fn, durable)))
            except BaseException as error:
                answers.put((False, error))

        self._put(job)
        worked, value = answers.get()
        if not worked:
            raise value
        result: T = value
        return result

    def close(self) -> None:
        """Finish what was asked for, checkpoint, and end the thread. Idempotent."""
        self._syncer.shutdown()
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _commit(
        self,
        connection: sqlite3.Connection,
        fn: Callable[[sqlite3.Connection], T],
        durable: bool,
        frees: bool = False,
    ) -> T:
        try:
            return self._try(connection, fn, durable)
        except KernelError as error:
            if not frees or error.errno != ENOSPC or not self._reserve.give():
                raise
        return self._try(connection, fn, durable)

    def _try(self, connection: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        try:
            if self._doubtful and durable:
                self._write_again(connection)
            if durable and self.unsettled.rows:
                return self._settled(connection, fn)
            return _transaction(connection, fn, durable, self.path)
        except KernelError as error:
            self._doubtful = self._doubtful or error.errno == EIO
            raise

    def _settled(self, connection: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T]) -> T:
        """A durable transaction behind a sync of what is not settled; what cannot be synced goes."""
        try:
            self.unsettled.sync()
        except KernelError:
            _transaction(connection, self.unsettled.drop, False, self.path)
            self.unsettled.committed()
            self.on_lost()
            raise

        def both(it: sqlite3.Connection) -> T:
            result = fn(it)
            self.unsettled.settle(it)
            return result

        failpoint("store.settle.before_commit")
        result = _transaction(connection, both, True, self.path)
        self.unsettled.committed()
        return result

    def _write_again(self, connection: sqlite3.Connection) -> None:
        """Behind an error of the disk: have all earlier commits on it before another durable one.

        A kernel that could not write pages says so once and forgets which: frames of the log may be missing
        there, and what follows them would be lost with them. The cache has them still.
        """
        try:
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise _translate(error, self.path) from None
        self._doubtful = bool(busy)

    def _put(self, job: _Job) -> None:
        if self._closed:
            raise Unavailable(f"the database {self.path} is closed")
        self._jobs.put(job)

    def _main(self, migrations: list[Migration], opened: queue.SimpleQueue[BaseException | None]) -> None:
        try:
            connection = _open(self.path, migrations)
        except BaseException as error:
            opened.put(error)
            return
        opened.put(None)
        self._reserve.keep()
        while (job := self._jobs.get()) is not None:
            job(connection)
            self._checkpoint(connection)
            self._reserve.keep()
        if self.unsettled.rows:
            with contextlib.suppress(OnggiError):  # the next boot drops what is not settled
                self._try(connection, lambda it: None, durable=True)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        self.unsettled.close()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the log into the file when it has grown, preferably while nobody waits."""
        limit = _CHECKPOINT_BYTES if self._jobs.empty() else _CHECKPOINT_LIMIT
        try:
            if os.stat(self.path + "-wal").st_size > limit:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (OSError, sqlite3.Error):
            return  # a reader holds it or the disk is full: the log stays, the next commit tries again


def _open(path: str, migrations: list[Migration]) -> sqlite3.Connection:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(fd, 0o600)  # the log and index inherit it
        os.close(fd)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, cached_statements=256)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _transaction(connection, lambda it: migrate(it, migrations, path), True, path)
    except BaseException as error:
        connection.close()
        raise _translate(error, path) from None
    return connection


def _transaction(
    connection: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T], durable: bool, path: str
) -> T:
    if durable:
        connection.execute(
            "PRAGMA synchronous=FULL"
        )  # takes effect at the next transaction, never inside one
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = fn(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result
    except sqlite3.Error as error:
        raise _translate(error, path) from None
    finally:
        if durable:
            connection.execute("PRAGMA synchronous=NORMAL")


def _translate(error: BaseException, path: str) -> BaseException:
    """SQLite's error as one of ours; what is not SQLite's stays as it is."""
    if isinstance(error, OnggiError) or not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return KernelError("write", ENOSPC, path)
    if code == sqlite3.SQLITE_IOERR:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_IOERR").strip("_").lower()
        return KernelError(name or "use", EIO, path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"the database {path} is locked by another process")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataLoss(f"the database {path} is damaged: {error}")
    return error


def _deliver(
    loop: asyncio.AbstractEventLoop, setter: Callable[..., None], future: asyncio.Future[T], value: object
) -> None:
    def deliver() -> None:
        if not future.done():
            setter(value)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        return  # the loop was closed while we worked: nobody is there to be told
