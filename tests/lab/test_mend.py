"""The mend for CPUs with AMX. Any CPU will do: the host refuses whatever SETREGSET is shorter than its own area."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from conformance.lab import uml

# sys/ptrace.h, linux/elf.h; the XSAVE area: Intel SDM volume 1, 13.4
TRACEME, PEEKDATA, CONT, GETREGSET, SETREGSET = 0, 2, 7, 0x4204, 0x4205
NT_X86_XSTATE = 0x202
XMM0, XSTATE_BV, YMM0_HIGH, LEGACY_AND_HEADER = 160, 512, 576, 576
SSE, AVX = 2, 4


Ptrace = Callable[..., int]


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def ptrace_of(library: ctypes.CDLL) -> Ptrace:
    function = library.ptrace
    function.restype = ctypes.c_long
    function.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    return function


c_library = ptrace_of(ctypes.CDLL(None, use_errno=True))


@pytest.fixture(scope="module")
def mend(tmp_path_factory: pytest.TempPathFactory) -> Ptrace:
    path = uml.build_mend(str(tmp_path_factory.mktemp("mend")))
    return ptrace_of(ctypes.CDLL(path, use_errno=True))


MINUS_ONE = ctypes.c_long(-1)


@pytest.fixture
def child() -> Iterator[int]:
    """A stopped process that this one traces, with this one's memory."""
    pid = os.fork()
    if pid == 0:
        c_library(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def area(pid: int) -> bytearray:
    buffer = bytearray(16384)
    vector = Iovec(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), len(buffer))
    assert c_library(GETREGSET, pid, NT_X86_XSTATE, ctypes.addressof(vector)) == 0
    return bytearray(buffer[: vector.length])


def set_area(ptrace: Ptrace, pid: int, data: bytearray) -> int:
    """0, or the error's number."""
    buffer = ctypes.create_string_buffer(bytes(data), len(data))
    vector = Iovec(ctypes.addressof(buffer), len(data))
    return 0 if ptrace(SETREGSET, pid, NT_X86_XSTATE, ctypes.addressof(vector)) == 0 else ctypes.get_errno()


def test_the_host_refuses_a_short_area_without_the_mend(child: int) -> None:
    assert set_area(c_library, child, area(child)[:-64]) == errno.EFAULT  # "failed, errno = 14" as UML panics


def test_a_short_area_is_set_and_what_lies_beyond_it_stays(mend: Ptrace, child: int) -> None:
    whole = area(child)
    whole[XSTATE_BV] |= SSE | AVX
    whole[YMM0_HIGH : YMM0_HIGH + 16] = b"beyond the short"
    assert set_area(c_library, child, whole) == 0
    short = area(child)[:LEGACY_AND_HEADER]
    short[XMM0 : XMM0 + 16] = b"within the short"
    assert set_area(mend, child, short) == 0
    after = area(child)
    assert after[XMM0 : XMM0 + 16] == b"within the short"
    assert after[YMM0_HIGH : YMM0_HIGH + 16] == b"beyond the short"


def test_a_whole_area_goes_through_as_it_is(mend: Ptrace, child: int) -> None:
    whole = area(child)
    whole[XSTATE_BV] |= SSE
    whole[XMM0 : XMM0 + 16] = b"the whole of it."
    assert set_area(mend, child, whole) == 0
    assert area(child)[XMM0 : XMM0 + 16] == b"the whole of it."


def test_other_requests_keep_the_c_librarys_convention(mend: Ptrace, child: int) -> None:
    ctypes.set_errno(0)
    assert mend(PEEKDATA, child, ctypes.addressof(MINUS_ONE), None) == -1
    assert ctypes.get_errno() == 0
    assert mend(PEEKDATA, child, 8, None) == -1
    assert ctypes.get_errno() == errno.EIO
