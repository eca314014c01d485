"""What ``system df`` says is what du(1) says, whatever was done and however the engine ended."""

import contextlib
import io
import json
import random
import re
import subprocess
import tarfile

import pytest

from engines import engine_at, wait_until

OPERATIONS, SEED = 200, 1
NEAR = 1_000_000


def small_tar(chance):
    """A root file system with busybox's shell missing and some random files instead."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for number in range(chance.randrange(1, 20)):
            info = tarfile.TarInfo(f"d{number % 3}/file{number}")
            info.size = chance.randrange(0, 200_000)
            out.addfile(info, io.BytesIO(chance.randbytes(info.size)))
    return buffer.getvalue()


class Operations:
    """Random things done to one engine, repeatable by the seed."""

    def __init__(self, engine, seed):
        self.engine, self.chance, self.number = engine, random.Random(seed), 0

    def docker(self, *arguments, input=b""):
        """Run docker's command; what it refuses (in use, no such image) is fine."""
        return self.engine.docker(*arguments, input=input).stdout.decode().split()

    def step(self):
        self.number += 1
        steps = (self.load, self.tag, self.write, self.write, self.begin, self.remove, self.untag, self.prune)
        self.chance.choice(steps)()

    def load(self):
        self.docker("import", "-", f"image{self.chance.randrange(6)}:latest", input=small_tar(self.chance))

    def tag(self):
        images = self.docker("images", "-q", "--filter", "reference=image*") or ["busybox"]
        self.docker("tag", self.chance.choice(images), f"image{self.chance.randrange(6)}:tag")

    def write(self):
        size, name = self.chance.randrange(400), f"/file{self.chance.randrange(5)}"
        command = f"dd if=/dev/urandom of={name} bs=1k count={size}; seq 2000; ln {name} /link"
        self.docker("run", "--network", "none", "--name", f"c{self.number}", "busybox", "sh", "-c", command)

    def begin(self):
        self.docker("run", "-d", "--network", "none", "busybox", "sleep", "1000")

    def remove(self):
        if containers := self.docker("ps", "-aq"):
            self.docker("rm", "-f", self.chance.choice(containers))

    def untag(self):
        if images := self.docker("images", "-q", "--filter", "reference=image*"):
            self.docker("rmi", *self.chance.choice(((), ("-f",))), self.chance.choice(images))

    def prune(self):
        if self.chance.random() < 0.3:
            self.docker("image", "prune", "-f")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with engine_at(tmp_path_factory.mktemp("disk")) as engine:
        yield engine


def accounts(engine):
    client = engine.client()
    try:
        return client.api.get("http+docker://localhost/onggi/v1/system/df").json()
    finally:
        client.close()


def du(engine):
    """What lies there; what the engine removes meanwhile, du complains of."""
    done = subprocess.run(["du", "-s", "-B1", engine.data_root], capture_output=True, text=True)
    return int(done.stdout.split()[0])


def count(told, kind):
    return next(account["Count"] for account in told["Accounts"] if account["Kind"] == kind)


def files(told):
    """Bytes of everything but the database, and but what goes by itself."""
    return sum(it["Size"] for it in told["Accounts"] if it["Kind"] not in ("database", "trash"))


def assert_exact(engine):
    """The sum of all accounts and du agree, as soon as the engine has deleted what it deletes beside."""
    wait_until(lambda: not count(accounts(engine), "trash"), "the deletion of what was put aside")

    def near():
        found = du(engine)
        return abs(accounts(engine)["Size"] - found) < max(NEAR, found // 100)

    with contextlib.suppress(TimeoutError):
        wait_until(near, "accounts to be settled", 30)
    told = accounts(engine)
    assert near(), told
    assert told["Size"] == sum(account["Size"] for account in told["Accounts"])
    assert all(0 <= it["Reclaimable"] <= it["Size"] for it in told["Accounts"]), told


def test_after_many_operations_and_a_kill(own):
    operations = Operations(own, SEED)
    for number in range(OPERATIONS):
        operations.step()
        if number % 50 == 49:
            assert_exact(own)
    own.kill()
    own.start()
    assert_exact(own)


def test_what_is_reclaimable_is_what_a_prune_gives_back(own):
    for container in own.docker("ps", "-q").stdout.decode().split():
        own.docker("stop", "-t", "0", container)
    own.docker("import", "-", "unused", input=small_tar(random.Random(7)))
    wait_until(lambda: not count(accounts(own), "trash"), "the deletion of what was put aside before")
    before = accounts(own)
    promised = sum(account["Reclaimable"] for account in before["Accounts"])
    own.docker("system", "prune", "-af")
    wait_until(lambda: not count(accounts(own), "trash"), "the deletion of what was put aside")
    after = accounts(own)
    given = files(before) - files(after)
    assert promised > 1_000_000
    assert abs(given - promised) < 200_000, (promised, given)  # 32 directories are kept for their next use


def test_dockers_answer(own):
    own.import_busybox()
    for number in range(2):
        own.docker("run", "--network", "none", "busybox", "sh", "-c", f"head -c 10000 /dev/zero >/f{number}")
    own.docker("tag", "busybox", "again")
    client = own.client()
    listed = client.api.images()
    usage = client.df()
    assert client.api.images() == listed  # what df counts is not left in the list
    client.close()
    image = next(it for it in usage["Images"] if "busybox:latest" in it["RepoTags"])
    assert image["Containers"] == 2
    assert image["SharedSize"] in (0, image["Size"])  # the same layer was imported before
    assert usage["LayersSize"] >= image["Size"] > 1_000_000
    assert [(it["SizeRw"], it["SizeRootFs"] - image["Size"]) for it in usage["Containers"]] == [
        (10000, 10000)
    ] * 2
    assert (usage["Volumes"], usage["BuildCache"]) == ([], [])


def timeless(text):
    """A table without ages, which grow from one command to the next, and the room that they take."""
    return re.sub(" +", " ", re.sub(r"(Less than|About|\d+) (a |an )?\w+( ago)?", "AGE", text))


@pytest.mark.parametrize("flags", [(), ("-v",), ("--format", "{{.Type}} {{.TotalCount}}")])
def test_our_command_prints_dockers_tables_and_more(own, flags):
    docker = timeless(own.docker("system", "df", *flags).stdout.decode())
    ours = timeless(own.onggi("system", "df", *flags).stdout.decode())
    if "--format" in flags:
        assert ours == docker
        return
    # docker pads by the widest cell, which other tables here do not change.
    assert ours.startswith(docker.rstrip("\n"))
    assert f"Disk usage of {own.data_root}:" in ours
    assert "Total" in ours.splitlines()[-1]


def test_formats(own):
    row = json.loads(own.onggi("system", "df", "--format", "json").stdout.splitlines()[0])
    assert row["Type"] == "Images"
    whole = json.loads(own.onggi("system", "df", "-v", "--format", "json").stdout)
    assert set(whole) == {"Images", "Containers", "Volumes", "BuildCache"}
