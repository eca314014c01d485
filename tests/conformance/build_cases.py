# ruff: noqa: E501 - Dockerfiles and contexts, one case a line
"""Dockerfiles as people write them, on a base of busybox: name -> flags, Dockerfile, files of the context."""

B = "FROM busybox\n"
CASES = {
    "run": ([], B + "RUN echo hello > /hello\n", {}),
    "run exec form": ([], B + 'RUN ["sh", "-c", "echo a b > /x"]\n', {}),
    "run removes": ([], B + "RUN rm -r /home && mkdir -p /srv/x && chmod 700 /srv\n", {}),
    "copy file": ([], B + "COPY a /a\nCOPY a b /dir/\nCOPY a /etc/\n", {"a": "1", "b": "2"}),
    "copy tree": (
        [],
        B + "COPY . /app\nCOPY src /src/\n",
        {"src/x": "1", "src/deep/y": "#!/bin/sh", "z": ("src/x",)},
    ),
    "copy wildcards": (
        [],
        B + "COPY *.txt sub?/f* /d/\n",
        {"a.txt": "1", "b.txt": "2", "sub1/f1": "3", "c": "4"},
    ),
    "copy chown chmod": (
        [],
        B + "COPY --chown=1000:29 --chmod=0640 a /x/a\nCOPY --chown=user s /s\n",
        {"a": "1", "s/t": "2"},
    ),
    "copy chmod symbolic": (
        [],
        B + "COPY --chmod=u=rwX,go=rX . /c/\nCOPY --chmod=+x a /a\n",
        {"a": "1", "d/s": "#!/bin/sh"},
    ),
    "copy link": ([], B + "COPY --link a /l/a\n", {"a": "1"}),
    "copy over": (
        [],
        B + "COPY a /f\nCOPY b /f\nCOPY d /\n",
        {"a": "1", "b": "2", "d/f": "3", "d/etc/new": "4"},
    ),
    "copy symlink": (
        [],
        B + "COPY link /one\nCOPY . /all\n",
        {"a": "1", "link": ("a",), "gone": ("nothing",)},
    ),
    "copy through link": ([], B + "RUN ln -s /usr/sbin /way\nCOPY a /way/\n", {"a": "1"}),
    "copy rename into dir": ([], B + "WORKDIR /w\nCOPY a ./b\nCOPY a .\nCOPY a c/\n", {"a": "1"}),
    "dockerignore": (
        [],
        B + "COPY . /all\n",
        {".dockerignore": "*.log\n!keep.log\nsub\n", "a.log": "1", "keep.log": "2", "sub/x": "3", "b": "4"},
    ),
    "heredocs": ([], B + "RUN <<EOF\necho a > /a\nEOF\nCOPY <<X <<'Y' /h/\n$PATH\nX\n$PATH\nY\n", {}),
    "env": ([], B + 'ENV A=1 B="two words" C=$A\nENV D ${B:-x}\nRUN echo $A $B $C $D > /e\n', {}),
    "args": (
        ["--build-arg", "GIVEN=g"],
        "ARG V=latest\nFROM busybox:$V\nARG GIVEN=d\nARG OTHER=o\nARG V\nRUN echo $GIVEN $OTHER $V > /args\nENV KEPT=$GIVEN\n",
        {},
    ),
    "platform args": (
        [],
        B + "ARG TARGETARCH\nARG BUILDPLATFORM\nRUN echo $TARGETARCH $BUILDPLATFORM > /p\n",
        {},
    ),
    "metadata": (
        [],
        B
        + 'LABEL a=1 "b c"="d e"\nEXPOSE 80 53/udp 8000-8002\nVOLUME /v1 /v2\nVOLUME ["/v3"]\nSTOPSIGNAL SIGINT\nUSER user:audio\n',
        {},
    ),
    "commands": ([], B + 'ENTRYPOINT ["a", "b"]\nCMD c d\n', {}),
    "shell entrypoint": ([], B + "CMD x\nENTRYPOINT exec y\n", {}),
    "entrypoint drops command": ([], B + 'ENTRYPOINT ["a"]\n', {}),
    "shell": ([], B + 'SHELL ["/bin/sh", "-ec"]\nRUN echo "quoted \\"x\\"" > /q\nCMD run this\n', {}),
    "healthcheck": (
        [],
        B + "HEALTHCHECK --interval=5m --timeout=3s --retries=4 CMD test -e /x || exit 1\n",
        {},
    ),
    "healthcheck exec": ([], B + 'HEALTHCHECK --start-period=1500ms CMD ["true", "a"]\n', {}),
    "healthcheck none": ([], B + "HEALTHCHECK NONE\n", {}),
    "workdir": ([], B + "WORKDIR /a\nWORKDIR b\nWORKDIR ../c\nRUN pwd > here\n", {}),
    "workdir of a user": ([], B + "USER user\nWORKDIR /mine/deep\nRUN touch x\n", {}),
    "workdir that is there": ([], B + "WORKDIR /etc\nWORKDIR /\n", {}),
    "maintainer": ([], B + "MAINTAINER Somebody <s@example.org>\n", {}),
    "onbuild": ([], B + "ONBUILD RUN echo x\nONBUILD COPY . /ctx\n", {}),
    "stages": (
        [],
        "FROM busybox AS one\nRUN echo 1 > /1 && chown 7:8 /1\nFROM busybox\nCOPY --from=one /1 /etc/passwd /in/\nCOPY --from=0 /home /homes\n",
        {},
    ),
    "stage on stage": (
        [],
        "FROM busybox AS base\nENV A=1\nWORKDIR /w\nRUN echo base > f\nFROM base AS next\nRUN echo next >> f\n",
        {},
    ),
    "target": (["--target", "mid"], "FROM busybox AS mid\nRUN echo mid > /m\nFROM busybox\nRUN exit 1\n", {}),
    "scratch": (
        [],
        'FROM busybox AS b\nRUN echo x > /x\nFROM scratch\nCOPY --from=b /x /x\nENTRYPOINT ["/x"]\n',
        {},
    ),
    "mount bind": (
        [],
        B + "RUN --mount=type=bind,target=/ctx cp -r /ctx /copied && rm /copied/Dockerfile\n",
        {"a": "1", "d/b": "2"},
    ),
    "mount cache": (
        [],
        B + "RUN --mount=type=cache,target=/cache/x date > /cache/x/d\nRUN ls / > /list\n",
        {},
    ),
    "mount tmpfs": ([], B + "RUN --mount=type=tmpfs,target=/t echo x > /t/x; ls / > /list\n", {}),
    "mount from stage": (
        [],
        "FROM busybox AS s\nRUN echo s > /s\nFROM busybox\nRUN --mount=from=s,target=/m cat /m/s > /got\n",
        {},
    ),
    "add archive": (
        [],
        B + "ADD a.tar.gz /un/\nADD plain /p/\n",
        {"a.tar.gz": {"d/x": "1", "y": "2"}, "plain": "3"},
    ),
    "add archive at root": ([], B + "ADD a.tar.gz /\n", {"a.tar.gz": {"etc/added": "1", "new/x": "2"}}),
    "cache from a stage": (
        [],
        B.strip()
        + " AS s\nRUN mkdir -m 711 /d && echo 1 > /d/f && chown 5:6 /d\n"
        + B
        + "RUN --mount=type=cache,id=q,target=/c,from=s,source=/d stat -c %a:%u:%g:%n /c /c/f > /a; echo 2 >> /c/f\nRUN --mount=type=cache,id=q,target=/c,from=s,source=/d cat /c/f > /b\nRUN --mount=type=cache,id=q,target=/c ls -A /c > /e\n",
        {},
    ),
    "cache from a stage, owned": (
        [],
        B.strip()
        + " AS s\nRUN mkdir -m 711 /d && echo 1 > /d/f\n"
        + B
        + "RUN --mount=type=cache,target=/c,from=s,source=/d,uid=3,gid=4,mode=0700 stat -c %a:%u:%g /c > /a\n",
        {},
    ),
    "mount from scratch": ([], B + "RUN --mount=from=scratch,target=/e,rw touch /e/x; ls -A /e > /a\n", {}),
    "arguments of the builder": (
        ["--build-arg=BUILDKIT_SANDBOX_HOSTNAME=h", "--build-arg=BUILDKIT_CACHE_MOUNT_NS=n"],
        B + "RUN --mount=type=cache,target=/c hostname > /a; ls -A /c >> /a\n",
        {},
    ),
    "labels of a flag": (["--label", "f=1"], B + "LABEL a=1\n", {}),
    "python app": (
        [],
        B
        + 'WORKDIR /app\nCOPY requirements.txt .\nRUN --mount=type=cache,target=/root/.cache/pip cat requirements.txt > installed\nCOPY . .\nENV PYTHONUNBUFFERED=1\nEXPOSE 8000\nUSER 1000\nCMD ["python", "-m", "app"]\n',
        {"requirements.txt": "flask", "app.py": "print()"},
    ),
    "nginx site": (
        [],
        B
        + "RUN mkdir -p /usr/share/nginx/html && rm -rf /usr/share/nginx/html/*\nCOPY --chown=daemon:daemon site/ /usr/share/nginx/html/\nSTOPSIGNAL SIGQUIT\n",
        {"site/index.html": "<p>", "site/css/a.css": "b"},
    ),
    "setuid and sticky": (
        [],
        B + "RUN cp /bin/busybox /su && chmod 4755 /su && mkdir -m 1777 /t && chown 1000 /t\n",
        {},
    ),
    "hard links": ([], B + "RUN echo x > /a && ln /a /b && mkfifo /f\n", {}),
    "names": ([], B + "RUN touch '/with space' /ünïcode && ln -s 'to nowhere' /l\n", {}),
    "bad: no such file": ([], B + "COPY nothing /x\n", {}),
    "bad: step fails": ([], B + "RUN exit 5\n", {}),
    "bad: later stage": ([], B + "COPY --from=x / /\n", {}),
}
