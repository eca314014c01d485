"""``onggi system fsck`` on a real engine: a sound store, a damaged one, a repaired one."""

import shutil

import pytest

from engines import RealEngine, wait_until


@pytest.fixture
def own(tmp_path):
    engine = RealEngine(tmp_path)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.destroy()


def fsck(engine, *flags):
    done = engine.onggi("system", "fsck", *flags)
    assert not done.stderr, done
    return done.returncode, done.stdout.decode().splitlines()


def layers(engine):
    return sorted((engine.data_root / "snapshots/overlay").iterdir())


def run(engine):
    return engine.onggi("run", "--rm", "--network", "none", "busybox", "echo", "hi").stdout


def test_a_sound_store(own):
    own.onggi("run", "--network", "none", "busybox", "touch", "/file")
    status, lines = fsck(own)
    assert (status, len(lines)) == (0, 1)
    assert lines[0].startswith("checked 2 blobs (")
    assert lines[0].endswith(" and 1 layers: 0 problems")
    assert fsck(own, "--repair") == (0, lines)


def test_a_lost_layer_is_unpacked_again(own):
    shutil.rmtree(layers(own)[0])
    status, lines = fsck(own)
    assert (status, len(lines)) == (1, 2)
    assert lines[0].startswith("layer sha256:")
    assert lines[0].endswith("its directory is missing; with --repair: it is unpacked again from its archive")
    assert lines[1].endswith(": 1 problem")
    status, lines = fsck(own, "--repair")
    assert (status, len(lines)) == (0, 2)
    assert lines[0].endswith("its directory is missing; repaired: it is unpacked again from its archive")
    assert lines[1].endswith(": 1 problem, 1 repaired")
    assert fsck(own)[0] == 0
    assert run(own) == b"hi\n"


def test_a_lost_layer_whose_archive_is_damaged_takes_its_image_along(own):
    shutil.rmtree(layers(own)[0])
    blobs = sorted(own.data_root.glob("blobs/sha256/*/*"), key=lambda path: path.stat().st_size)
    blobs[-1].chmod(0o600)
    with blobs[-1].open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    told = ["blob sha256:", "layer sha256:", "image busybox:latest: its layer sha256:"]
    for flags, status in (((), 1), (("--repair",), 0)):
        found, lines = fsck(own, *flags)
        assert found == status, lines
        assert [line[: len(begin)] for line, begin in zip(lines, told, strict=False)] == told
        assert len(lines) == 4
    assert fsck(own)[0] == 0
    own.import_busybox()
    assert run(own) == b"hi\n"


def test_strays_are_removed(own):
    (own.data_root / "snapshots/overlay/99/fs").mkdir(parents=True)
    (own.data_root / "blobs/sha256/ab").mkdir(exist_ok=True)
    (own.data_root / "blobs/sha256/ab" / ("ab" * 32)).touch()
    (own.data_root / "ingest" / ("cd" * 32)).touch()
    status, lines = fsck(own)
    assert (status, len(lines)) == (1, 4)
    assert fsck(own, "--repair")[0] == 0
    assert fsck(own)[0] == 0
    assert len(layers(own)) == 1


def test_pruning_takes_what_failed_operations_left(own):
    own.stop()
    (own.data_root / "ingest" / ("cd" * 32)).write_bytes(bytes(1 << 20))
    own.start()
    wait_until(lambda: not list((own.data_root / "trash").iterdir()), "an empty trash")
    done = own.onggi("system", "prune", "-af")
    assert b"deleted: sha256:" in done.stdout
    assert not list(own.data_root.glob("blobs/sha256/*/*"))
    assert not list((own.data_root / "ingest").iterdir())
    assert fsck(own)[0] == 0
