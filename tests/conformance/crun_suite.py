"""Runs crun's test suite (a checkout of github.com/containers/crun, GPL, never copied here) on a runtime.

    python tests/conformance/crun_suite.py --suite DIR --runtime COMMAND [--runtime COMMAND ...]

Everything happens in a private mount namespace with its own /dev, because cases of the suite replace nodes
there. ``--no-unified`` unmounts /sys/fs/cgroup/unified in it: crun 1.8 refuses hybrid hosts, so runtimes are
compared on equal terms without it. Prints a table;
``--json FILE`` keeps every result.
"""

import argparse
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
UNIFIED = "/sys/fs/cgroup/unified"
CASE = re.compile(r"^(ok|not ok) \d+ - (.*?)(?: #(SKIP)?.*)?$")
INSIDE = "ONGGI_CONFORMANCE_INSIDE"


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--suite", required=True, type=Path, help="directory with tests/test_*.py")
    parser.add_argument("--runtime", action="append", required=True, help="a runtime's path; may be repeated")
    parser.add_argument("--no-unified", action="store_true", help=f"unmount {UNIFIED} first")
    parser.add_argument("--only", nargs="*", default=[], help="files, as test_exec.py")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one file")
    parser.add_argument("--json", type=Path, help="write the result of every case there")
    parser.add_argument("--output", type=Path, help="keep what the suite printed in this directory")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        return enter_private_world()
    furnish_dev()
    if arguments.no_unified and os.path.ismount(UNIFIED):
        subprocess.run(["umount", UNIFIED], check=True)
    results = {runtime: run_suite(arguments, runtime) for runtime in arguments.runtime}
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    return 0


def enter_private_world() -> int:
    """Run this again in a mount namespace of its own; afterwards the machine's /dev/null is as it was."""
    before = os.stat("/dev/null", follow_symlinks=False)
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    code = subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode
    after = os.stat("/dev/null", follow_symlinks=False)
    if (before.st_ino, before.st_mode, before.st_rdev) != (after.st_ino, after.st_mode, after.st_rdev):
        sys.exit("the suite changed the machine's /dev/null")
    return code


def furnish_dev() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,mode=755", "tmpfs", "/dev"], check=True)
    for name, numbers in NODES.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(*numbers))
        os.chmod(f"/dev/{name}", 0o666)
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name, kind, options in [
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", "defaults"),
    ]:
        os.mkdir(f"/dev/{name}")
        subprocess.run(["mount", "-t", kind, "-o", options, kind, f"/dev/{name}"], check=True)


def run_suite(arguments: argparse.Namespace, runtime: str) -> dict[str, str]:
    """Case -> ok, failed or skipped."""
    with tempfile.TemporaryDirectory(prefix="crun-suite-") as directory:
        init = build_init(arguments.suite / "tests", Path(directory))
        environment = {**os.environ, "OCI_RUNTIME": shutil.which(runtime) or runtime, "INIT": str(init)}
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        results = {}
        for path in sorted((arguments.suite / "tests").glob("test_*.py")):
            if not arguments.only or path.name in arguments.only:
                text = run_file(path, directory, environment, arguments.timeout)
                keep_output(arguments.output, runtime, path.name, text)
                results |= {f"{path.name}: {name}": result for name, result in parse(text).items()}
        return results


def build_init(tests: Path, directory: Path) -> Path:
    """The suite's static helper; of its configure run it needs only what headers there are."""
    headers = {"LINUX_IOPRIO_H": "linux/ioprio.h", "ERROR_H": "error.h", "SECCOMP": "seccomp.h"}
    found = [f"HAVE_{name}" for name, header in headers.items() if Path("/usr/include", header).exists()]
    (directory / "config.h").write_text("".join(f"#define {name} 1\n" for name in found))
    target = directory / "init"
    flags = ["-I", str(directory), "-D_GNU_SOURCE", "-static", "-o", str(target)]
    subprocess.run(["gcc", *flags, str(tests / "init.c")], check=True, stderr=subprocess.DEVNULL)
    return target


def run_file(path: Path, directory: str, environment: dict[str, str], timeout: int) -> str:
    command = [sys.executable, str(path)]
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, timeout=timeout, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout
    except subprocess.TimeoutExpired as expired:
        return (expired.stdout or b"").decode(errors="replace") + "\n# timeout\n"


def keep_output(directory: Path | None, runtime: str, name: str, text: str) -> None:
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{Path(runtime).name}-{name}.log").write_text(text)


def parse(text: str) -> dict[str, str]:
    """The cases of one file's TAP output; a case named twice counts as ok only if it always was."""
    results: dict[str, str] = {}
    for line in text.splitlines():
        if found := CASE.match(line):
            word, name, skipped = found.groups()
            result = "skipped" if skipped else "ok" if word == "ok" else "failed"
            results[name.strip()] = result if results.get(name.strip(), "ok") == "ok" else "failed"
    return results


def table(results: dict[str, dict[str, str]]) -> str:
    lines = ["| runtime | ok | failed | skipped |", "|---|---:|---:|---:|"]
    for runtime, cases in results.items():
        counts = [sum(result == word for result in cases.values()) for word in ("ok", "failed", "skipped")]
        lines.append(f"| {runtime} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
