"""Rights that the machine lacks: the container runs with what there is, and create says so."""

from pathlib import Path

SYS_RESOURCE = 24
HELD = int(Path("/proc/self/status").read_text().partition("CapEff:\t")[2].split()[0], 16) >> SYS_RESOURCE & 1
FILES = int(Path("/proc/self/limits").read_text().partition("Max open files")[2].split()[1])


def test_ulimit(run):
    done = run.done("--ulimit", f"nofile={FILES + 1}", sh="ulimit -Hn")
    given = int(done.stdout)
    assert given == (FILES + 1 if HELD else FILES)
    said = f"ulimit nofile: without CAP_SYS_RESOURCE this machine allows at most {FILES}, which is used"
    assert (said in done.stderr.decode()) != bool(HELD)
    assert "WARNING" not in run.done("--ulimit", f"nofile={FILES}").stderr.decode()


def test_oom_score_adj(run):
    done = run.done("--oom-score-adj", "-999", sh="cat /proc/self/oom_score_adj")
    assert (int(done.stdout) == -999) == bool(HELD)
    assert (b"WARNING: oom score adj -999: without CAP_SYS_RESOURCE" in done.stderr) != bool(HELD)


def test_capabilities(run):
    show = "grep CapEff /proc/self/status"
    done = run.done("--cap-add", "SYS_RESOURCE", sh=show)
    assert int(done.stdout.split()[1], 16) >> SYS_RESOURCE & 1 == HELD
    said = b"this machine does not have CAP_SYS_RESOURCE: the container runs without"
    assert (said in done.stderr) != bool(HELD)
