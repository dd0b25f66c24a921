"""The filter of system calls, run by a machine in a few lines: for both processors, whatever this one is."""

from __future__ import annotations

import errno
import os

import pytest

from app.parsing import cage, syscalls

PID = 4711
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, NO_TERMINAL, UNKNOWN = (0x50000 | number for number in (errno.EACCES, errno.ENOTTY, errno.ENOSYS))
MACHINES = pytest.mark.parametrize("machine", syscalls.MACHINES)


def verdict(machine: str, call: str | int, *arguments: int, audited: int | None = None) -> int:
    """What the kernel would do with the call."""
    number = number_of(machine, call) if isinstance(call, str) else call
    memory = {0: number, 4: cage._AUDITED[machine] if audited is None else audited}
    memory |= {16 + 8 * index: argument & 0xFFFFFFFF for index, argument in enumerate(arguments)}
    program, at, loaded = cage._filter(machine, PID), 0, 0
    while True:
        operation, when_true, when_false, operand = program[at]
        at += 1
        if operation == cage._LOAD:
            loaded = memory[operand]
        elif operation == cage._RETURN:
            return operand
        else:
            holds = {
                cage._IF_EQUAL: loaded == operand,
                cage._IF_AT_LEAST: loaded >= operand,
                cage._IF_ANY_BIT: loaded & operand != 0,
            }[operation]
            at += when_true if holds else when_false


def number_of(machine: str, call: str) -> int:
    numbers = syscalls.ALLOWED | syscalls.JUDGED | syscalls.DEADLY
    number = numbers[call][syscalls.MACHINES.index(machine)]
    assert number is not None
    return number


@MACHINES
def test_every_call_gets_the_verdict_of_its_list(machine: str) -> None:
    column = syscalls.MACHINES.index(machine)
    verdicts = dict.fromkeys(range(syscalls.NEWEST + 1), REFUSED)
    for calls, expected in ((syscalls.ALLOWED, ALLOW), (syscalls.DEADLY, KILL)):
        verdicts |= {numbers[column]: expected for numbers in calls.values() if numbers[column] is not None}
    judged = {numbers[column] for numbers in syscalls.JUDGED.values()}
    for number, expected in verdicts.items():
        if number not in judged:
            assert verdict(machine, number) == expected, number


@MACHINES
def test_no_number_stands_twice(machine: str) -> None:
    column = syscalls.MACHINES.index(machine)
    lists = (syscalls.ALLOWED, syscalls.JUDGED, syscalls.DEADLY)
    numbers = [
        numbers[column] for calls in lists for numbers in calls.values() if numbers[column] is not None
    ]
    assert len(numbers) == len(set(numbers))
    assert max(numbers) <= syscalls.NEWEST


@MACHINES
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC), REFUSED),
        ("openat", (0, 0, os.O_RDONLY | os.O_DIRECTORY), REFUSED),
        ("openat", (0, 0, os.O_WRONLY), KILL),
        ("openat", (0, 0, os.O_RDWR | os.O_CLOEXEC), KILL),
        ("openat", (0, 0, os.O_CREAT), KILL),
        ("openat", (0, 0, os.O_TRUNC), KILL),
        ("openat", (0, 0, os.O_TMPFILE | os.O_RDWR), KILL),
        ("mmap", (0, 4096, 0b011), ALLOW),
        ("mmap", (0, 4096, 0b101), REFUSED),
        ("mprotect", (0, 4096, 0b001), ALLOW),
        ("mprotect", (0, 4096, 0b100), REFUSED),
        ("fcntl", (3, 1030), ALLOW),
        ("fcntl", (3, 3), ALLOW),
        ("fcntl", (3, 4), REFUSED),  # F_SETFL
        ("fcntl", (3, 8), REFUSED),  # F_SETOWN
        ("fcntl", (3, 15), REFUSED),  # F_SETOWN_EX
        ("ioctl", (3, 0x5401), NO_TERMINAL),
        ("prlimit64", (0, 0), ALLOW),
        ("prlimit64", (0, 9), REFUSED),  # RLIMIT_AS
        ("prlimit64", (PID + 1, 0), REFUSED),
        ("tgkill", (PID, PID, 6), ALLOW),
        ("tgkill", (PID + 1, PID, 6), KILL),
    ],
)
def test_some_are_judged_by_their_arguments(
    machine: str, call: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert verdict(machine, call, *arguments) == expected


def test_the_older_way_to_open_is_judged_alike() -> None:
    assert verdict("x86_64", "open", 0, os.O_RDONLY) == REFUSED
    assert verdict("x86_64", "open", 0, os.O_WRONLY | os.O_CREAT) == KILL


@MACHINES
def test_calls_newer_than_the_lists_are_answered_as_by_an_older_kernel(machine: str) -> None:
    assert verdict(machine, syscalls.NEWEST + 1) == UNKNOWN
    assert verdict(machine, 0x3FFFFFFF) == UNKNOWN


@MACHINES
def test_the_tables_of_other_processors_are_no_way_around(machine: str) -> None:
    assert verdict(machine, "read", audited=0x40000003) == KILL  # i386.
    assert verdict("x86_64", 0x40000000) == KILL  # x32's `read`.


@MACHINES
def test_the_filter_is_one_that_the_kernel_takes(machine: str) -> None:
    program = cage._filter(machine, PID)
    assert len(program) <= 4096
    for at, (_, when_true, when_false, operand) in enumerate(program):
        assert 0 <= operand < 1 << 32
        assert at + 1 + max(when_true, when_false) <= len(program)
        assert max(when_true, when_false) < 256
