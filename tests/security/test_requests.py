"""What a request may ask for: strict grammars and bounded numbers (rules R8, R12, R24)."""

import pytest

from onggi.containers.mount_points import check_destination
from onggi.containers.names import find_id
from onggi.containers.spec_security import check_sysctls
from onggi.errors import OnggiError

IDS = ["a" * 64, "ab" + "c" * 62]


@pytest.mark.parametrize("ref", ["../x", "/", "..", "a" * 65, "A" * 64, "", "a\0", "a/../b", "*"])
def test_cve_2014_9358_a_reference_is_no_path(ref):
    with pytest.raises(OnggiError):
        find_id(ref, IDS, lambda _: None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel.core_pattern", "|/bin/x"),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "1"),
        ("kernel/shm_rmid_forced", "1\nkernel.core_pattern=|x"),
        ("net.ipv4.ip_forward", "1+kernel.core_pattern=|x\n"),
        ("../../kernel/core_pattern", "x"),
        ("net/../kernel/core_pattern", "x"),
        ("net..kernel", "x"),
        ("vm.overcommit_memory", "1"),
    ],
)
def test_cve_2022_0811_only_namespaced_sysctls(name, value):
    with pytest.raises(OnggiError):
        check_sysctls({name: value}, own_network=True, own_ipc=True, own_uts=True)


def test_cve_2022_0811_sysctls_of_namespaces_of_others_are_refused():
    check_sysctls({"net.ipv4.ip_forward": "1"}, own_network=True, own_ipc=True, own_uts=True)
    with pytest.raises(OnggiError):
        check_sysctls({"net.ipv4.ip_forward": "1"}, own_network=False, own_ipc=True, own_uts=True)
    with pytest.raises(OnggiError):
        check_sysctls({"kernel.msgmax": "1"}, own_network=True, own_ipc=False, own_uts=True)


@pytest.mark.parametrize("path", ["/", "", "relative", "/..", "/../..", "."])
def test_cve_2022_23648_a_mount_has_a_place_of_its_own(path):
    with pytest.raises(OnggiError):
        check_destination(path)
