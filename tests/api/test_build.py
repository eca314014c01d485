"""Builds by docker's command, with its classic builder: what they print, and what images they make."""

import tarfile
import time

import pytest

from builds import Builds

HEALTH = 'HEALTHCHECK &{["CMD-SHELL" "true"] "5s" "0s" "0s" "0s" \'\\x02\'}'


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def test_a_first_image(builds):
    builds.write("greeting", "hello\n")
    done = builds.build(
        """
        FROM busybox
        ENV NAME=world
        RUN echo made > /made && cat /made
        COPY greeting /etc/greeting
        WORKDIR /work
        CMD cat /etc/greeting /made; echo $NAME; pwd
        """
    )
    assert "Step 1/6 : FROM busybox\n" in done.output
    assert "\nmade\n" in done.output
    assert f"Successfully built {done.id[7:19]}\nSuccessfully tagged {done.tag}\n" in done.output
    assert builds.run(done.tag) == "hello\nmade\nworld\n/work\n"


def test_standard_error_is_red_as_from_dockerd(builds):
    done = builds.build("FROM busybox\nRUN echo out; echo wrong >&2")
    assert "\nout\n" in done.output
    assert "\x1b[91mwrong\n\x1b[0m" in done.output


def test_an_image_is_told_in_the_events_before_its_name(builds, engine):
    since = f"{time.time():.6f}"
    done = builds.build("FROM busybox\nLABEL told=1")
    flags = ["--since", since, "--until", f"{time.time():.6f}", "--filter", "type=image"]
    told = engine.docker("events", *flags, "--format", "{{.Action}} {{.Actor.ID}}", check=True).stdout
    assert told.decode().splitlines() == [f"create {done.id}", f"tag {done.id}"]


def test_steps_count_as_images(builds, engine):
    builds.build("FROM busybox\nENV A=1\nENV B=2\nRUN echo 1 > /a")
    shown, listed = (
        set(engine.docker("images", "-q", "--no-trunc", *flags, check=True).stdout.split())
        for flags in ([], ["--all"])
    )
    assert shown < listed
    assert int(engine.docker("info", "--format", "{{.Images}}", check=True).stdout) == len(listed)


def test_configuration_and_history_are_those_of_the_instructions(builds):
    done = builds.build(
        """
        FROM busybox
        LABEL one=1 two="2 3"
        EXPOSE 80 53/udp
        VOLUME /data
        USER user
        ENV A=1 B="two words"
        ARG WHO=me
        RUN echo $WHO
        WORKDIR sub
        STOPSIGNAL SIGINT
        SHELL ["/bin/sh", "-ec"]
        HEALTHCHECK --interval=5s --retries=2 CMD true
        ONBUILD RUN echo child
        ENTRYPOINT ["echo"]
        CMD ["a", "b"]
        MAINTAINER somebody
        """
    )
    config = done.image["Config"]
    assert config["Labels"] == {"one": "1", "two": "2 3"}
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert (config["Volumes"], config["User"], config["WorkingDir"]) == ({"/data": {}}, "user", "/sub")
    assert config["Env"][1:] == ["A=1", "B=two words"]
    assert (config["StopSignal"], config["Shell"]) == ("SIGINT", ["/bin/sh", "-ec"])
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9, "Retries": 2}
    assert (config["OnBuild"], config["Entrypoint"], config["Cmd"]) == (
        ["RUN echo child"],
        ["echo"],
        ["a", "b"],
    )
    assert done.image["Author"] == "somebody"
    told = [step["CreatedBy"] for step in reversed(done.history)][1:]
    assert told == [
        "LABEL one=1 two=2 3",
        "EXPOSE [53/udp 80/tcp]",
        "VOLUME [/data]",
        "USER user",
        "ENV A=1 B=two words",
        "ARG WHO=me",
        "RUN |1 WHO=me /bin/sh -c echo $WHO # buildkit",
        "WORKDIR /sub",
        "STOPSIGNAL SIGINT",
        "SHELL [/bin/sh -ec]",
        HEALTH,
        'ENTRYPOINT ["echo"]',
        'CMD ["a" "b"]',
        "MAINTAINER somebody",
    ]
    child = builds.build(f"FROM {done.tag}\nRUN echo own")
    assert "\nchild\n" in child.output
    assert child.output.index("\nchild\n") < child.output.index("\nown\n")
    assert child.image["Config"].get("OnBuild") is None


def test_stages_give_files_and_only_what_is_needed_is_built(builds):
    done = builds.build(
        """
        ARG BASE=busybox
        FROM $BASE AS tools
        RUN echo tool > /tool && chown 1000:1000 /tool

        FROM busybox AS unneeded
        RUN exit 9

        FROM tools AS more
        RUN echo more >> /tool

        FROM busybox
        COPY --from=more /tool /from-name
        COPY --from=0 /tool /from-number
        COPY --from=busybox /etc/passwd /from-image
        COPY --from=busybox / /whole/
        RUN --mount=from=tools,source=/tool,target=/mnt/tool cat /mnt/tool > /from-mount
        CMD ["sh", "-c", "cat /from-name /from-number /from-mount; stat -c %u /from-name; ls"]
        """
    )
    assert "exit 9" not in done.output
    assert builds.run(done.tag) == "tool\nmore\ntool\ntool\n1000\n" + builds.run("busybox", "ls").replace(
        "home\n", "from-image\nfrom-mount\nfrom-name\nfrom-number\nhome\n"
    ).replace("var\n", "var\nwhole\n")
    whole = set(builds.run(done.tag, "ls", "/whole", "/whole/etc").split())
    assert {"bin", "passwd"} < whole
    assert not {"dev", "proc", "hosts"} & whole
    assert builds.run(done.tag, "head", "-1", "/from-image").startswith("root:")


def test_a_target_ends_the_build_there(builds):
    text = "FROM busybox AS one\nRUN echo first\nFROM one AS two\nRUN echo second\n"
    done = builds.build(text, "--target", "one")
    assert "second" not in done.output
    failed = builds.build(text, "--target", "three", check=False)
    assert (failed.code, 'target stage "three" could not be found' in failed.errors) == (1, True)


def test_variables_and_arguments(builds):
    done = builds.build(
        """
        FROM busybox
        ARG GIVEN=default
        ARG UNSET
        ARG TARGETARCH
        ENV COMBINED=${GIVEN}-${UNSET:-none} EMPTY=${UNSET:+set}
        RUN echo "$GIVEN $UNSET $COMBINED [$EMPTY] $TARGETARCH" > /values
        COPY --chown=1000:1000 $GIVEN /$GIVEN
        """
        if builds.write("it", "x") else "",
        "--build-arg", "GIVEN=it", "--build-arg", "UNUSED=1", "--label", "from=flag",
    )  # fmt: skip
    assert builds.run(done.tag, "cat", "/values").startswith("it  it-none [] ")
    assert "[Warning] One or more build-args [UNUSED] were not consumed" in done.output
    assert done.image["Config"]["Labels"] == {"from": "flag"}
    assert builds.run(done.tag, "stat", "-c", "%u:%g", "/it") == "1000:1000\n"


def test_heredocs(builds):
    done = builds.build(
        """
        FROM busybox
        ENV NAME=world
        RUN <<EOF
        echo one > /run-file
        echo two >> /run-file
        EOF
        RUN <<EOF cat > /piped
        some text
        EOF
        RUN <<PROGRAM
        #!/bin/sh -e
        echo "$0" > /program
        PROGRAM
        COPY <<EOF <<'RAW' /docs/
        hello $NAME
        EOF
        hello $NAME
        RAW
        CMD ["cat", "/run-file", "/piped", "/docs/EOF", "/docs/RAW", "/program"]
        """
    )
    assert builds.run(done.tag) == "one\ntwo\nsome text\nhello world\nhello $NAME\n/dev/pipes/PROGRAM\n"


def test_mounts_leave_no_trace(builds):
    builds.write("data/in", "from the context\n")
    done = builds.build(
        """
        FROM busybox
        RUN --mount=type=bind,source=data,target=/in cat /in/in > /out && ! touch /in/new 2>/dev/null
        RUN --mount=type=cache,target=/cache/deep echo kept > /cache/deep/file
        RUN --mount=type=cache,target=/cache/deep cp /cache/deep/file /found
        RUN --mount=type=tmpfs,target=/scratch,size=1m echo x > /scratch/x
        RUN --mount=type=secret,id=none echo fine
        RUN --mount=type=bind,source=data,target=/rw,rw echo more >> /rw/in && cat /rw/in > /out2
        RUN --mount=type=bind,source=data/in,target=/f,rw echo changed > /f && cat /f >> /out2
        RUN --mount=type=bind,from=busybox,source=etc,target=/e,rw rm /e/passwd && ls /e >> /out2
        RUN ls -d /in /cache /scratch /run/secrets > /left 2>/dev/null; true
        """
    )
    assert builds.run(done.tag, "cat", "/out", "/found", "/left") == "from the context\nkept\n"
    assert builds.run(done.tag, "cat", "/out2") == "from the context\nmore\nchanged\ngroup\n"
    assert builds.run(done.tag, "ls", "/etc/passwd") == "/etc/passwd\n"
    assert not (builds.context / "data/new").exists()
    missing = builds.build("FROM busybox\nRUN --mount=type=secret,id=s,required true", check=False)
    assert "secret s: not found" in missing.errors


def test_a_cache_begins_with_files_of_a_stage(builds):
    """As by BuildKit: each base is the beginning of a cache of its own, which is kept like any other."""
    text = """
        FROM busybox AS base
        RUN mkdir -p /data/sub && echo {} > /data/sub/word && ln -s /etc /data/out && chown -R 7:8 /data
        FROM busybox
        RUN --mount=type=cache,id=c,target=/c,from=base,source=data \\
            (stat -c %u:%g /c/sub/word && cat /c/sub/word) > /first; echo x >> /c/more
        RUN --mount=type=cache,id=c,target=/c,from=base,source=data/,mode=0711,uid=3 \\
            (wc -l < /c/more && stat -c %a:%u /c) > /second
        RUN --mount=type=cache,id=c,target=/d ls /d > /plain
        RUN --mount=type=cache,target=/e,from=base,source=data/out,uid=5,mode=0700 \\
            (ls /e && stat -c %a:%u /e) > /third
        RUN --mount=type=cache,target=/f,from=busybox,source=etc/passwd cat /f > /fourth; echo >> /f
    """
    first = builds.build(text.format("one"))
    assert builds.run(first.tag, "cat", "/first", "/second") == "7:8\none\n1\n755:7\n"
    assert builds.run(first.tag, "ls", "-s", "/plain").split()[0] == "0"
    assert "passwd" in builds.run(first.tag, "cat", "/third").split()
    assert builds.run(first.tag, "cat", "/third").splitlines()[-1] == "700:5"
    assert "root:" in builds.run(first.tag, "cat", "/fourth")
    assert builds.build(text.format("one")).output.count("Using cache") == 6
    other = builds.build(text.format("two"))
    assert builds.run(other.tag, "cat", "/first", "/second") == "7:8\ntwo\n1\n755:7\n"
    absent = builds.build(
        "FROM busybox\nRUN --mount=type=cache,target=/c,from=busybox,source=no true", check=False
    )
    assert "no: no such file or directory" in absent.errors


def test_add_unpacks_archives_and_copies_the_rest(builds):
    builds.write("tree/usr/file", "in the archive\n")
    with tarfile.open(builds.context / "a.tar.gz", "w:gz") as archive:
        archive.add(builds.context / "tree", ".")
    builds.write("plain.gz", "no archive")
    done = builds.build(
        """
        FROM busybox
        ADD a.tar.gz plain.gz /into/
        ADD a.tar.gz /
        ADD --unpack=false a.tar.gz /kept/
        COPY a.tar.gz /copied/
        """
    )
    assert builds.run(done.tag, "cat", "/into/usr/file", "/usr/file") == "in the archive\n" * 2
    listed = builds.run(done.tag, "ls", "/into", "/kept", "/copied").split()
    assert listed == ["/copied:", "a.tar.gz", "/into:", "plain.gz", "usr", "/kept:", "a.tar.gz"]


def test_scratch(builds):
    builds.write("file", "x")
    done = builds.build('FROM scratch\nCOPY file /\nCMD ["/file"]')
    assert done.image["Config"]["Env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ]
    assert (done.image["Config"]["WorkingDir"], len(done.image["RootFS"]["Layers"])) == ("/", 1)


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM busybox\nRUN exit 7", "The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        ('FROM busybox\nRUN ["/none"]', "returned a non-zero code: 127"),
        ("FROM busybox\nCOPY none /", "COPY failed: file not found in build context or excluded by"),
        ("FROM busybox\nCOPY --from=late /x /\nFROM busybox AS late", "needs to be defined before"),
        ("FROM busybox\nNONSENSE x", "unknown instruction: NONSENSE"),
        ("RUN true", "no build stage in current context"),
        ("", "the Dockerfile cannot be empty"),
        ("FROM busybox AS a\nCOPY --from=a /x /", "cannot copy from stage"),
        ("FROM busybox\nCOPY --from=5 /x /", "stage index out of bounds"),
        ("FROM busybox\nRUN --security=insecure true", "security.insecure is not allowed"),
        ("FROM busybox\nRUN --network=host true", "network.host is not allowed"),
        (
            "FROM busybox\nRUN --mount=type=ssh true",
            "needs an agent, which is forwarded by onggi build --ssh",
        ),
        ("FROM busybox\nUSER nobodyhere\nRUN true", "unable to find user nobodyhere"),
        ("FROM busybox\nEXPOSE 99999", "invalid containerPort: 99999"),
        ("FROM none.invalid/nothing\nRUN true", "none.invalid"),
    ],
)
def test_errors_are_told_and_leave_nothing(builds, dockerfile, message):
    before = set(builds.engine.docker("ps", "-aq").stdout.split())
    done = builds.build(dockerfile, check=False)
    assert done.code == (7 if "exit 7" in dockerfile else 127 if "/none" in dockerfile else 1), done
    assert message in done.errors
    assert set(builds.engine.docker("ps", "-aq").stdout.split()) <= before
    assert list((builds.engine.data_root / "build").iterdir()) in (
        [],
        [builds.engine.data_root / "build/caches"],
    )
