"""Flags of ``run`` that shape the process: each by its effect, seen from inside."""

from pathlib import Path

import pytest


def test_flag_env(run):
    given = ("-h", "fixed", "-e", "A=one two", "--env", "B=", "-e", "NOT_SET_HERE")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert run(*given, sh="env | grep -v -e ^PWD= -e ^SHLVL= | sort").splitlines() == [
        "A=one two", "B=", "HOME=/root", "HOSTNAME=fixed", path,
    ]  # fmt: skip


def test_flag_env_file(run, tmp_path):
    (tmp_path / "env").write_text("# a comment\nC=from file\nD=1\n")
    printed = run("--env-file", str(tmp_path / "env"), "-e", "D=2", sh='echo "$C/$D"')
    assert printed == "from file/2"


def test_flag_hostname(run):
    assert run("-h", "inside.example", sh="hostname; cat /etc/hostname; echo $HOSTNAME") == (
        "inside.example\ninside.example\ninside.example"
    )


def test_flag_domainname(run):
    assert run("--domainname", "example.org", sh="cat /proc/sys/kernel/domainname") == "example.org"


def test_flag_user(run):
    assert run("-u", "user", sh="id") == "uid=1000(user) gid=1000(user) groups=29(audio),1000(user)"
    assert run("--user", "1234:29", sh="id -u; id -g; echo $HOME") == "1234\n29\n/"
    assert run("--user", ":1000", sh="id") == "uid=0(root) gid=1000(user) groups=1000(user)"


def test_flag_group_add(run):
    assert run("--group-add", "audio", "--group-add", "4321", sh="id -G").split() == ["0", "29", "4321"]


def test_flag_workdir(run):
    assert run("-w", "/made/for/me", sh="pwd; stat -c %u:%g .") == "/made/for/me\n0:0"


def test_flag_entrypoint(run):
    done = run.command("run", "--rm", "--network", "none", "--entrypoint", "/bin/echo", "busybox", "a", "b")
    assert (done.returncode, done.stdout) == (0, b"a b\n"), done


def test_flag_interactive(run):
    assert run("-i", sh="cat", input=b"typed\n") == "typed"
    assert run(sh="cat", input=b"typed\n") == ""


def test_flag_attach(run):
    done = run.done("-a", "stderr", sh="echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"err\n"), done


def test_flag_oom_score_adj(run):
    assert run("--oom-score-adj", "321", sh="cat /proc/self/oom_score_adj") == "321"
    assert "Invalid value 1001, range for oom score adj is [-1000, 1000]" in run.refused(
        "--oom-score-adj", "1001"
    )


def test_flag_ulimit(run):
    printed = run("--ulimit", "nofile=100:200", "--ulimit", "core=0", sh="ulimit -Sn; ulimit -Hn; ulimit -c")
    assert printed == "100\n200\n0"
    assert "invalid" in run.done("--ulimit", "nosuch=1").stderr.decode()


def test_flag_init(run):
    """Process 1 is ours: it is not the command, hands on signals and reaps what is left to it."""
    orphan = "(sleep 0.05 & echo >/dev/null); sleep 0.3"
    reaped = "while ps -o pid,stat,comm | grep -q ' Z'; do sleep 0.1; done; echo reaped"
    assert run("--init", sh="echo $$").strip() != "1"
    assert run("--init", sh=f'sh -c "{orphan}"; {reaped}') == "reaped"
    assert run("--init=false", sh="echo $$") == "1"


def test_flag_sysctl(run):
    read = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    assert run("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096", sh=read) == "1\n4096"
    assert "sysctl 'vm.swappiness=1' is not allowed" in run.refused("--sysctl", "vm.swappiness=1")
    words = run.refused("--sysctl", "net.ipv4.ip_forward=1", network="host")
    assert 'sysctl "net.ipv4.ip_forward" not allowed in host network namespace' in words


def test_flag_cap_add(run):
    assert effective(run("--cap-add", "SYS_TIME", "--cap-add", "cap_net_admin", sh=STATUS)) & (
        bit(25) | bit(12)
    ) == bit(25) | bit(12)
    assert 'invalid CapAdd: unknown capability: "CAP_NOSUCH"' in run.refused("--cap-add", "NOSUCH")


def test_flag_cap_drop(run):
    assert not effective(run("--cap-drop", "chown", sh=STATUS)) & bit(0)
    assert effective(run("--cap-drop", "ALL", "--cap-add", "KILL", sh=STATUS)) == bit(5)
    assert run("--cap-drop", "CHOWN", sh="chown 1 /tmp 2>&1 || echo held") == (
        "chown: /tmp: Operation not permitted\nheld"
    )


STATUS = "grep CapEff /proc/self/status"


def effective(line: str) -> int:
    return int(line.split()[1], 16)


def bit(number: int) -> int:
    return 1 << number


def test_flag_privileged(run):
    own = Path("/proc/self/status").read_text().partition("CapEff:\t")[2].split()[0]
    assert effective(run("--privileged", sh=STATUS)) == int(own, 16)
    assert run(
        "--privileged", sh="grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted"
    ) == ("Seccomp:\t0\nmounted")
    assert run(sh="grep Seccomp: /proc/self/status") == "Seccomp:\t2"


def test_flag_security_opt(run, tmp_path):
    assert run("--security-opt", "no-new-privileges", sh="grep NoNewPrivs /proc/self/status")[-1] == "1"
    assert run("--security-opt", "seccomp=unconfined", sh="grep Seccomp: /proc/self/status")[-1] == "0"
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], '
        '"action": "SCMP_ACT_ERRNO", "errnoRet": 42}]}'
    )
    assert "No message of desired type" in run(
        "--security-opt", f"seccomp={profile}", sh="mkdir /tmp/x 2>&1; true"
    )
    read = "head -c1 /proc/kcore | wc -c; echo 8 >/proc/sys/kernel/printk_ratelimit && echo writable"
    assert run("--security-opt", "systempaths=unconfined", sh=read).endswith("writable")
    assert not run(sh=f"{read} 2>/dev/null; true").endswith("writable")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("apparmor=some", "apparmor profile some: AppArmor profiles are not supported yet"),
        ("label=type:x", "security label type:x: SELinux labels are not supported yet"),
        ("nosuch=1", 'invalid --security-opt 2: "nosuch=1"'),
    ],
)
def test_security_options_that_are_refused(run, option, words):
    assert words in run.refused("--security-opt", option)
