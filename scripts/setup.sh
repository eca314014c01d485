# Set-up of the private environments in .onggi/; read by ./onggi and ./check, never run by itself.
# POSIX sh. Expects $here (the checkout). Everything is built under a temporary name and renamed when complete.

fail() {
    [ -z "${began-}" ] || echo >&2 # a step is being shown on this line
    echo "onggi: $*" >&2
    exit 1
}

now() { # hundredths of a second since boot, in $clock; no process is started
    read -r clock _ </proc/uptime
    clock=${clock%.*}${clock#*.}
}

begin() { # begin WORDS...: announce a step
    printf '  %-52s' "$*" >&2
    now
    began=$clock
}

done_() {
    now
    printf '%3d.%d s\n' $(((clock - began) / 100)) $(((clock - began) / 10 % 10)) >&2
    began=
}

last_error() { # last_error FILE: the line of a log that says why, in brackets
    sed -n 's/^\(E\|ERROR\|Error\|error\): *//p' "$1" | tail -n 1 | cut -c 1-200
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "must be root to set up; run it again as 'sudo $0'"
}

need_kernel() {
    release=$(uname -r)
    major=${release%%.*}
    minor=${release#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 10 ]; } ||
        fail "Linux $release is too old, 5.10 is needed; boot a newer kernel (Debian 11 or later has one)"
    grep -qw overlay /proc/filesystems || modprobe -q overlay 2>/dev/null || grep -qw overlay /proc/filesystems ||
        fail "this kernel has no overlay file system; load the module 'overlay' or boot a kernel that has it"
    grep -Eq ' - cgroup2? ' /proc/self/mountinfo ||
        fail "no cgroup hierarchy is mounted; run 'mount -t cgroup2 none /sys/fs/cgroup' or boot with one"
}

find_python() { # the real path of a Python >= 3.11 in $python; the system's own is preferred to one in a home
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        python=$("$candidate" -I -c '
import os, sys
print(os.path.realpath(sys.executable) if sys.version_info >= (3, 11) else "")' 2>/dev/null) || continue
        [ -z "$python" ] || return 0
    done
    fail "Python 3.11 or newer is needed; run 'apt-get install python3' (Debian 12 and later have it)"
}

install_debian() { # install_debian PACKAGE...
    command -v apt-get >/dev/null || fail "apt-get is not here; install $* by this machine's own means"
    log=$(mktemp)
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    set -- -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
    # The package lists may be absent or old: fetch them only then.
    if ! apt-get "$@" >"$log" 2>&1 </dev/null &&
        ! { apt-get update && apt-get "$@"; } >"$log" 2>&1 </dev/null; then
        shift 5
        why=$(last_error "$log")
        rm -f "$log"
        fail "apt-get could not install $* (${why:-no reason given}); check the machine's package sources"
    fi
    rm -f "$log"
}

missing_debian() { # missing_debian PACKAGE...: those not installed, in $missing
    missing=
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
        [ "$state" = installed ] || missing="$missing $package"
    done
}

venv_package() { # the Debian package that gives $python its venv module
    [ "$python" = "$(readlink -f /usr/bin/python3)" ] && echo python3-venv || echo "${python##*/}-venv"
}

requirements() { # requirements [EXTRA...]: what pyproject.toml asks for, one a line
    "$python" -I -c '
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
wanted = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in sys.argv[2:])]
print("\n".join(line for lines in wanted for line in lines))' "$here/pyproject.toml" "$@"
}

make_environment() { # make_environment DIRECTORY [EXTRA...]: a virtual environment with the packages, all or nothing
    target=$1
    shift
    part=$(mktemp -d "$here/.onggi/part.XXXXXX") || fail "cannot write to $here/.onggi"
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM HUP
    begin "private environment in ${target#"$here/"}"
    "$python" -I -m venv "$part/env" >"$part/log" 2>&1 ||
        fail "'$python -m venv' failed ($(tail -n 1 "$part/log")); run 'apt-get install --reinstall $(venv_package)'"
    done_
    requirements "$@" >"$part/requirements"
    begin "Python packages"
    "$part/env/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input --retries 2 \
        --only-binary :all: -r "$part/requirements" >"$part/log" 2>&1 </dev/null ||
        fail "pip could not install the Python packages ($(last_error "$part/log")); give it a package index:" \
            "network access, or index-url or find-links in /etc/pip.conf"
    done_
    mv "$part/env" "$target" || fail "cannot write $target"
    rm -rf "$part"
    trap - EXIT INT TERM HUP
}

lock_setup() { # one set-up at a time; the others wait and find it done
    mkdir -p "$here/.onggi" 2>/dev/null || fail "cannot write to $here; unpack the source where root may write"
    exec 9>"$here/.onggi/lock"
    flock 9
}

set_up() { # set_up: everything ./onggi needs before its first command
    need_root
    need_kernel
    PATH=$PATH:/usr/sbin:/sbin
    lock_setup
    if [ ! -x "$here/.onggi/env-$environment/bin/python" ]; then
        echo "Setting up Onggi in $here (once):" >&2
        begin "root, kernel, overlay, cgroups, Python"
        find_python
        done_
        needed=
        "$python" -I -c 'import ensurepip, venv' 2>/dev/null || needed=$(venv_package)
        command -v nft >/dev/null || needed="$needed nftables"
        if [ -n "$needed" ]; then
            begin "Debian packages:" $needed
            install_debian $needed
            done_
        fi
        rm -rf "$here"/.onggi/part.* "$here"/.onggi/env-*
        make_environment "$here/.onggi/env-$environment"
    fi
    exec 9>&-
}
