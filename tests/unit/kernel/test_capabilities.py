"""Names and masks of capabilities."""

import pytest

from onggi.errors import InvalidArgument
from onggi.kernel import capabilities


def test_numbers_of_the_table():
    named = {name: number for number, name in enumerate(capabilities.NAMES)}
    known = {"CAP_CHOWN": 0, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SETFCAP": 31, "CAP_BPF": 39}
    assert known.items() <= named.items()
    assert len(capabilities.NAMES) == 41


@pytest.mark.parametrize("written", ["net_admin", "NET_ADMIN", "cap_net_admin", "CAP_NET_ADMIN"])
def test_names_as_people_write_them(written):
    assert capabilities.mask([written]) == 1 << 12


def test_all_is_what_the_kernel_knows():
    assert capabilities.mask(["all"]) == (1 << capabilities.last_cap() + 1) - 1


@pytest.mark.parametrize("written", ["FOO", "cap_foo"])
def test_unknown_names_get_dockers_words(written):
    with pytest.raises(InvalidArgument, match=r'^unknown capability: "CAP_FOO"$'):
        capabilities.mask([written])


def test_masks_and_names_are_inverse():
    for number, name in enumerate(capabilities.NAMES):
        assert capabilities.names(capabilities.mask([name])) == [name]
        assert capabilities.names(1 << number) == [name]
    assert capabilities.names(1 << 50) == ["CAP_50"]


def test_own_sets_are_read():
    own = capabilities.current()
    assert own.effective & ~own.permitted == 0
