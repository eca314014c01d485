"""Hostile Dockerfiles, contexts and images: nothing of the host is read, changed or run (R1, R13, R14)."""

import http.server
import io
import os
import tarfile
import threading
import urllib.parse

import pytest

from builds import Builds, Wire
from engines import paths_below

SECRET = "canary of the host"


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


@pytest.fixture
def canary(tmp_path):
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "file").write_text(SECRET)
    yield directory
    assert [it.name for it in directory.iterdir()] == ["file"]
    assert (directory / "file").read_text() == SECRET


def refused(done, *words):
    """The build failed, in words of ours."""
    assert done.code != 0
    assert SECRET not in done.output + done.errors
    assert "internal error" not in done.errors
    assert any(word in done.errors for word in words), done.errors


def test_cve_2021_3602_a_step_sees_no_variable_of_the_host(builds):
    os.environ["ONGGI_CANARY"] = SECRET
    try:
        done = builds.build(
            "FROM busybox\nARG GIVEN=1\nRUN env | cut -d= -f1 | sort | tr '\\n' ' '", "--no-cache"
        )
    finally:
        del os.environ["ONGGI_CANARY"]
    assert "\nGIVEN HOME HOSTNAME PATH PWD SHLVL " in done.output


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile"])
def test_cve_2022_4122_links_in_place_of_ignore_files_lead_nowhere(builds, engine, canary, name):
    wire = Wire(engine, {"other": "FROM busybox\nCOPY . /all/\n", name: canary / "file"}, dockerfile="other")
    assert SECRET not in wire.rest()
    told = Wire(engine, {"Dockerfile": canary / "file"}).rest()
    assert "Cannot locate specified Dockerfile" in told


def test_cve_2024_23650_malformed_requests_are_refused_in_words(engine):
    queries = [
        {"buildargs": "{"}, {"buildargs": "[]"}, {"labels": '{"a":1}'}, {"ulimits": '[{"Name":5}]'},
        {"memory": "x"}, {"memory": "99999999999999999999"}, {"platform": "a/b/c/d"}, {"t": "UPPER CASE"},
        {"dockerfile": "../../etc/passwd"}, {"dockerfile": "\0"}, {"target": "\udcff"},
        {"networkmode": "container:"},
        {"extrahosts": "["}, {"cgroupparent": "../.."}, {"shmsize": "-1"}, {"version": "2"},
    ]  # fmt: skip
    for query in queries:
        told = Wire(engine, {"Dockerfile": "FROM busybox\nRUN true\n"}, **query).rest()
        assert "internal error" not in told, query
        assert "Successfully" not in told, query


@pytest.mark.parametrize("subpath", ["link", "link/deep", "../../..", "/../..", "gone"])
def test_cve_2024_23651_a_part_of_a_cache_does_not_lead_out(builds, canary, subpath):
    builds.build(
        f"FROM busybox\nRUN --mount=type=cache,target=/c ln -sfn {canary} /c/link; ls -l /c", "--no-cache"
    )
    done = builds.build(
        f"FROM busybox\nRUN --mount=type=cache,id=/c,target=/d,source={subpath} cat /d/file; touch /d/new",
        "--no-cache",
        check=False,
    )
    assert SECRET not in done.output + done.errors


def test_cve_2024_23652_what_took_the_place_of_a_mount_point_stays(builds, canary):
    done = builds.build(
        f"""
        FROM busybox
        RUN --mount=type=tmpfs,target=/a/b/c mv /a /moved; rm -rf /a; ln -s {canary} /a; true
        RUN --mount=type=bind,source=.,target=/x/y umount /x/y 2>/dev/null; ln -sfn {canary} /x/y; true
        """,
        "--no-cache",
    )
    assert done.code == 0


@pytest.mark.parametrize("flag", ["--security=insecure", "--network=host", "--device=all"])
def test_cve_2024_23653_no_step_gets_more_than_the_request_allows(builds, flag):
    refused(
        builds.build(f"FROM busybox\nRUN {flag} true", check=False), "not allowed", "not supported", "device"
    )


def test_ghsa_7236_every_step_is_in_the_sandbox(builds):
    done = builds.build(
        "FROM busybox\nRUN grep -E '^(Seccomp|CapBnd):' /proc/self/status;"
        " mount -t tmpfs x /tmp 2>/dev/null || echo no"
    )
    assert "Seccomp:\t2" in done.output
    assert "CapBnd:\t00000000a80425fb" in done.output
    assert "\nno\n" in done.output


def test_cve_2024_24557_a_step_is_not_taken_from_another_base(builds):
    other = builds.build("FROM busybox\nRUN echo evil > /evil")
    again = builds.build(f"FROM {other.tag}\nRUN echo step")
    clean = builds.build("FROM busybox\nRUN echo step")
    assert again.image["RootFS"]["Layers"][:-1] == other.image["RootFS"]["Layers"]
    assert clean.output.count("Using cache") == 0


@pytest.mark.parametrize("link", ["/", "{canary}", "../../../..", "/proc/1/root"])
@pytest.mark.parametrize("where", ["stage", "context", "cache"])
def test_cve_2024_1753_the_source_of_a_mount_stays_where_it_is_from(builds, engine, canary, link, where):
    link = link.format(canary=canary)
    kind = "cache" if where == "cache" else "bind"
    text = f"FROM busybox AS evil\nRUN ln -s {link} /evil\nFROM busybox\nRUN --mount=type={kind},"
    text += "from=evil," if where != "context" else ""
    text += f"source=evil,target=/m cat /m{canary}/file /m/file; touch /m/new /m{canary}/new; true\n"
    files = {"Dockerfile": text} | ({"evil": canary.parent / link} if where == "context" else {})
    assert SECRET not in Wire(engine, files, nocache="1").rest()


@pytest.mark.parametrize(
    "options",
    [
        "type=cache,id=../../../../canary,target=/c",
        "type=cache,id=/etc,target=/c",
        "type=cache,target=/c,id=.",
    ],
)
def test_cve_2024_9675_the_name_of_a_cache_is_no_path(builds, engine, options):
    builds.build(f"FROM busybox\nRUN --mount={options} touch /c/made-by-{os.getpid()}")
    caches = engine.data_root / "build/caches"
    assert all(len(it.name.split(".")[0]) == 64 for it in caches.iterdir())
    assert not os.path.exists(f"/etc/made-by-{os.getpid()}")


@pytest.mark.parametrize(
    "option", ["bind-propagation=rshared", "propagation=shared", "exec", "relabel=shared"]
)
def test_cve_2024_9407_unknown_options_of_mounts_are_refused(builds, option):
    done = builds.build(f"FROM busybox\nRUN --mount=type=bind,source=.,target=/m,{option} true", check=False)
    refused(done, "unexpected key", "must be a key=value pair")


def test_cve_2024_11218_stages_that_swap_a_shared_cache_show_no_file_of_the_host(builds, canary):
    swap = f"for i in $(seq 200); do mkdir /c/d; rmdir /c/d; ln -s {canary} /c/d; rm /c/d; done"
    stages = "".join(
        f"FROM busybox AS s{i}\nRUN --mount=type=cache,id=race,source=d,target=/d "
        "cat /d/file; touch /d/new; true\n"
        for i in range(3)
    )
    done = builds.build(
        f"FROM busybox AS swap\nRUN --mount=type=cache,id=race,target=/c {swap}\n{stages}FROM busybox\n"
        + "".join(f"COPY --from={name} /etc/passwd /{name}\n" for name in ("swap", "s0", "s1", "s2")),
        "--no-cache",
        check=False,
    )
    assert SECRET not in done.output + done.errors


def test_cve_2025_4953_what_a_step_writes_below_a_bind_stays_nowhere(builds):
    builds.write("file", "as it was")
    done = builds.build(
        "FROM busybox\nRUN --mount=type=bind,source=.,target=/m echo changed > /m/file || echo refused\n"
        "COPY file /file"
    )
    assert "refused" in done.output
    assert builds.run(done.tag, "cat", "/file") == "as it was"


def test_cve_2026_33747_no_frontend_is_executed(builds):
    done = builds.build("# syntax=registry.invalid/evil:1\nFROM busybox\nRUN echo built")
    assert "evil" not in done.output.replace("# syntax", "")


@pytest.mark.parametrize(
    "address",
    [
        "https://host.invalid/a.git#--upload-pack=touch /canary",
        "https://host.invalid/a.git#main:../../canary",
        "git://host.invalid/--upload-pack=x",
        "git@host.invalid:a --upload-pack=x",
        "file:///etc",
        "ext::sh -c touch% /canary",
        "bundle.bundle",
        "/etc/passwd",
    ],
)
def test_cve_2019_13139_addresses_of_contexts_are_no_options(engine, address):
    told = Wire(engine, {}, remote=address).rest()
    assert "Successfully" not in told
    assert "internal error" not in told
    assert not os.path.exists("/canary")


def context(*members):
    """A tar of members that no honest client sends."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, link in members:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = link
                archive.addfile(info)
            else:
                info.size = 4
                archive.addfile(info, io.BytesIO(b"evil"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../escaped", None)],
        [("/../../escaped", None)],
        [("dir/../../escaped", None)],
        [("link", (tarfile.SYMTYPE, "{canary}")), ("link/new", None)],
        [("hard", (tarfile.LNKTYPE, "{canary}/file")), ("hard", None)],
        [("link", (tarfile.SYMTYPE, "../..")), ("link/escaped", None)],
        [("device", (tarfile.CHRTYPE, "")), ("Dockerfile", (tarfile.FIFOTYPE, ""))],
    ],
)
def test_ghsa_g2h8_a_context_does_not_leave_its_directory(engine, canary, members):
    made = [(name, link and (link[0], link[1].format(canary=canary))) for name, link in members]
    told = Wire(engine, context(*made)).rest()
    assert "Successfully" not in told
    assert "internal error" not in told
    assert "escaped" not in {path.name for path in paths_below(engine.data_root)}


def test_cve_2014_9357_no_program_of_an_image_unpacks_anything(builds, canary):
    for kind in ("xz", "gz", "bz2"):
        with tarfile.open(builds.context / f"a.tar.{kind}", f"w:{kind}") as archive:
            archive.add(canary / "file", f"file-{kind}")
    traps = " ".join(
        f"/bin/{name} /usr/bin/{name}" for name in ("xz", "unxz", "gzip", "unpigz", "bzip2", "tar")
    )
    done = builds.build(
        f"""
        FROM busybox
        RUN mkdir -p /usr/bin && printf '#!/bin/sh\\ntouch {canary}/run' > /trap && chmod 755 /trap
        RUN for i in {traps}; do rm -f $i; cp /trap $i; done
        ADD a.tar.xz a.tar.gz a.tar.bz2 /into/
        """
    )
    assert builds.run(done.tag, "ls", "/into").split() == ["file-bz2", "file-gz", "file-xz"]


def test_cve_2014_9356_directories_that_are_links_stay_in_the_image(builds, canary):
    builds.write("file", "copied")
    done = builds.build(
        f"""
        FROM busybox
        RUN ln -s {canary} /way; ln -s {canary}/file /file; ln -s ../../../../..{canary} /up
        WORKDIR /way/made
        COPY file /way/
        COPY file /file
        COPY file /up/x
        ADD file /way/added
        VOLUME /way/volume
        """
    )
    assert builds.run(done.tag, "cat", f"{canary}/file", f"{canary}/x", f"{canary}/added") == "copied" * 3


def test_ghsa_32pv_nothing_is_emptied_through_a_link(builds, canary):
    builds.write("tree/way/file", "x")
    done = builds.build(f"FROM busybox\nRUN ln -s {canary} /way\nCOPY tree /\n", check=False)
    refused(done, "cannot copy to non-directory: /way")


class Evil(http.server.BaseHTTPRequestHandler):
    """Names the file it serves as it likes."""

    def do_GET(self):
        self.send_response(200)
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).query)
        self.send_header("Content-Disposition", f'attachment; filename="{name}"')
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"evil")

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://name:password@127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["../../../../canary/new", "/etc/new", "..", "", "a%2fb"])
def test_cve_2026_44517_a_server_does_not_say_where_a_file_goes(builds, canary, server, name):
    done = builds.build(f"FROM busybox\nADD {server}/x?{urllib.parse.quote(name)} /in/", "--no-cache")
    found = builds.run(done.tag, "find", "/in", "-type", "f").split()
    assert len(found) == 1
    assert found[0].count("/") == 2


def test_cve_2023_26054_names_and_passwords_of_addresses_are_told_to_nobody(builds, server, engine):
    done = builds.build(f"FROM busybox\nADD {server}/file?file /in/", "--no-cache")
    assert "password" not in str(done.image)
    assert "password" not in engine.log()
    failed = builds.build("FROM busybox\nADD http://name:password@127.0.0.1:1/x /in/", check=False)
    assert "password" not in failed.errors
    checked = builds.build(f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {server}/x?x /in/", check=False)
    assert "digest mismatch" in checked.errors
