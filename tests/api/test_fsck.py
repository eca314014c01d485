"""``onggi system fsck`` on a real engine: a sound store, a damaged one, a repaired one."""

import os
import shutil

import pytest

from engines import wait_until


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


def damage_content(fs):
    (fs / "etc/passwd").write_text("other")


def damage_time_alone(fs):
    passwd = fs / "etc/passwd"
    passwd.write_text(passwd.read_text().replace("root", "toor"))
    os.utime(passwd, (0, 0))


def damage_names(fs):
    (fs / "etc/passwd").rename(fs / "etc/passwd2")


def damage_links(fs):
    (fs / "bin/sh").unlink()
    (fs / "bin/sh").symlink_to("/elsewhere")


def damage_owner(fs):
    os.chown(fs / "tmp", 1, 1)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_content, "/etc/passwd has "),
        (damage_time_alone, "/etc/passwd has other content"),
        (damage_names, "/etc/passwd2 is not in its archive, and 2 more"),
        (damage_links, "/bin/sh "),
        (damage_owner, "/tmp belongs to 1:1 instead of 0:0"),
    ],
)
def test_a_damaged_layer_is_unpacked_again(own, damage, told):
    damage(layers(own)[0] / "fs")
    assert fsck(own)[0] == 0  # nobody has looked into it
    status, lines = fsck(own, "--deep")
    assert (status, len(lines)) == (1, 2)
    assert f"differs from its archive: {told}" in lines[0]
    assert fsck(own, "--deep", "--repair")[0] == 0
    assert fsck(own, "--deep")[0] == 0
    assert run(own) == b"hi\n"


def test_a_layer_in_use_stays_as_it_is(own):
    own.docker("run", "-d", "--name", "on", "--network", "none", "busybox", "sleep", "1000", check=True)
    damage_names(layers(own)[0] / "fs")
    assert fsck(own, "--deep", "--repair")[0] == 1
    assert own.docker("exec", "on", "cat", "/etc/group", check=True).stdout
    own.docker("rm", "-f", "on", check=True)
    assert fsck(own, "--deep", "--repair")[0] == 0
    assert run(own) == b"hi\n"


def test_volumes_and_their_directories(own):
    own.docker("volume", "create", "lost", check=True)
    shutil.rmtree(own.data_root / "volumes/lost")
    (own.data_root / "volumes/found/_data").mkdir(parents=True, mode=0o700)
    status, lines = fsck(own, "--repair")
    assert (status, len(lines)) == (1, 3)
    assert lines[0] == "volume lost: its directory is missing"
    assert lines[1].endswith(
        "volumes/found: no row names it: the next start of the engine makes it a volume again"
    )


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
