"""The device program of cgroup v2, run by a small interpreter of the instructions it uses."""

import struct

import hypothesis.strategies as st
from hypothesis import given

from onggi.kernel.cgroup_devices import Rule, parse, program

ACCESS = {"m": 1, "r": 2, "w": 4}
DENY_ALL = Rule(False, "a", None, None, "rwm")


def run(code, kind, access, major, minor):
    """The program's answer for one access: eBPF, linux/bpf.h."""
    context = struct.pack("=III", access << 16 | {"b": 1, "c": 2}[kind], major, minor)
    registers = [0] * 11
    position = 0
    instructions = list(struct.iter_unpack("=BBhi", code))
    while True:
        operation, both, offset, immediate = instructions[position]
        target, source = both & 15, both >> 4
        position += 1
        match operation:
            case 0x61:
                registers[target] = struct.unpack_from("=I", context, offset)[0]
            case 0xB4:
                registers[target] = immediate
            case 0xBC:
                registers[target] = registers[source]
            case 0x54:
                registers[target] &= immediate
            case 0x74:
                registers[target] >>= immediate
            case 0x15:
                position += offset * (registers[target] == immediate)
            case 0x55:
                position += offset * (registers[target] != immediate)
            case 0x5D:
                position += offset * (registers[target] != registers[source])
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"unexpected instruction {operation:#x}")


def expected(rules, kind, access, major, minor):
    """What the rules say: the last that matches decides, and an allowing one must cover the whole access."""
    for rule in reversed(rules):
        mask = sum(ACCESS[letter] for letter in rule.access)
        if rule.kind == "a":
            return rule.allow
        same = rule.kind == kind and rule.major in (None, major) and rule.minor in (None, minor)
        if same and (access & ~mask == 0 if rule.allow else access & mask):
            return rule.allow
    return False


NUMBERS = st.none() | st.integers(0, 3)
LETTERS = st.lists(st.sampled_from("rwm"), min_size=1, unique=True).map("".join)
RULES = st.lists(
    st.builds(Rule, st.booleans(), st.sampled_from("abc"), NUMBERS, NUMBERS, LETTERS), max_size=6
)


@given(RULES, st.sampled_from("bc"), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_program_decides_as_the_rules_say(rules, kind, access, major, minor):
    answer = run(program(tuple(rules)), kind, access, major, minor)
    assert answer == bool(expected(rules, kind, access, major, minor))


def test_docker_like_list():
    rules = (
        DENY_ALL,
        Rule(True, "c", 1, 3, "rwm"),
        Rule(True, "c", 136, None, "rw"),
        Rule(True, "b", None, None, "m"),
    )
    code = program(rules)
    assert run(code, "c", 6, 1, 3)
    assert not run(code, "c", 6, 1, 5)
    assert run(code, "c", 6, 136, 9)
    assert not run(code, "c", 7, 136, 9)
    assert run(code, "b", 1, 8, 0)
    assert not run(code, "b", 2, 8, 0)


def test_nothing_listed_is_nothing_allowed():
    assert not run(program(()), "c", 2, 1, 3)


def test_golden_program():
    """``deny a`` alone: load the access, answer no. Written out, so that a change of encoding is seen."""
    assert program((DENY_ALL,)).hex(" ", 8) == (
        "6112000000000000 54020000ffff0000 6113000000000000 7403000010000000 "
        "6114040000000000 6115080000000000 b400000000000000 9500000000000000"
    )


def test_rules_are_read_as_the_specification_says():
    assert parse([{"allow": True, "type": "u", "major": 1, "minor": -1}]) == (
        Rule(True, "c", 1, None, "rwm"),
    )
    assert parse([{"allow": False}]) == (DENY_ALL,)
