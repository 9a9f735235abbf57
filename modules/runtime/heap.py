"""The memory that the C library keeps of what is freed."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any

# Bytes that any process may keep. With 400 MB, or a sixth alone, training would give back half of
# its memory in every step, and take it anew: a seventh of the time.
_ALWAYS_SPARE = 600 * 2**20
# As malloc.h names and numbers them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4


def keep_freed_memory() -> None:
    """Lets the process keep what it frees for its next allocations (where its C library is glibc).

    Otherwise every large tensor is memory anew from the system, which fills it with zeros page by
    page: a tenth to a fifth of the time of a training step on the CPU. How much may be kept,
    `bound_freed_memory` sees to.
    """
    global _heap
    try:
        _heap = _Heap()
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    _heap.keep()


@contextlib.contextmanager
def large_tensors_mapped() -> Iterator[None]:
    """Inside, each large tensor has pages of its own, which go when it is freed.

    For weights while they are loaded and copied: in the heap they would leave gaps among what is
    freed around them, of 20 MB and more for those of vox-256. Without effect in a process that is
    to `keep_freed_memory`, or with another C library.
    """
    _set_thresholds(mapped_from=2**20, trimmed_from=2**20)
    try:
        yield
    finally:  # what glibc comes to by itself: what each frame takes anew should not be mapped
        _set_thresholds(mapped_from=32 * 2**20, trimmed_from=64 * 2**20)


def _set_thresholds(mapped_from: int, trimmed_from: int) -> None:
    if _heap is None:
        with contextlib.suppress(AttributeError, OSError, TypeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(_MMAP_THRESHOLD, mapped_from)
            libc.mallopt(_TRIM_THRESHOLD, trimmed_from)


def bound_freed_memory() -> None:
    """Gives freed memory back to the system once there is too much; to be called now and then.

    Beyond the most that has been in use at any time, a sixth of it may be kept, or 600 MB. Without
    a bound where glibc is older than 2.33.
    """
    if _heap is not None:
        _heap.bound()


def release_freed_memory() -> None:
    """Gives all freed memory back to the system, once much has been freed for good."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library or system
        ctypes.CDLL(None).malloc_trim(0)


class _Heap:
    """The heap of the C library."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._set, self._trim = libc.mallopt, libc.malloc_trim
        self._info: Any = getattr(libc, 'mallinfo2', None)  # since glibc 2.33
        self._most_used = self._elsewhere = 0
        if self._info is not None:
            self._info.restype = _HeapInfo
            self._elsewhere = _anonymous_bytes() - self._used()  # stacks, others' maps

    def keep(self) -> None:
        self._set(_MMAP_MAX, 0)
        self._set(_TRIM_THRESHOLD, 2**31 - 1)
        self._set(_TOP_PAD, 64 * 2**20)

    def bound(self) -> None:
        if self._info is None:
            return
        self._most_used = max(self._most_used, self._used())
        if self._too_much():
            self._trim(0)
            if self._too_much():  # so it is not the heap's
                self._elsewhere = _anonymous_bytes() - self._used()

    def _too_much(self) -> bool:
        spare = max(self._most_used / 6, _ALWAYS_SPARE)
        return _anonymous_bytes() - self._elsewhere > self._most_used + spare

    def _used(self) -> int:
        info = self._info()
        return info.uordblks + info.hblkhd


class _HeapInfo(ctypes.Structure):
    """What mallinfo2 tells; of use here are bytes mapped one by one and bytes in use otherwise."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *('arena', 'ordblks', 'smblks', 'hblks', 'hblkhd'),
            *('usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost'),
        )
    ]


_heap: _Heap | None = None  # None: freed memory is not kept


def _anonymous_bytes() -> int:
    """Resident memory that no file backs."""
    with open('/proc/self/statm') as statm:
        _, resident, backed, *_ = map(int, statm.read().split())
    return (resident - backed) * os.sysconf('SC_PAGE_SIZE')
