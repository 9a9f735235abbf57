"""What a container may use of the machine, as Linux tells by control groups (cgroups)."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


@functools.cache
def cpu_quota(system: Path = Path('/')) -> int | None:
    """Cores that the time granted to this process amounts to, rounded up; None: no limit.

    Each group on the way to the process's own may have a limit of its own.

    Args:
        system: the folder that holds proc/ and sys/.
    """
    limits = [
        quota / period
        for folder in _groups(system)
        for quota, period in _limits(folder)
        if quota > 0 and period > 0
    ]
    return max(1, math.ceil(min(limits))) if limits else None


def _groups(system: Path) -> Iterator[Path]:
    """Folders of the groups in charge of processor time that the process is in, of both versions.

    A container may see its own group as the root of all, or at its path on the host.
    """
    mounted = system / 'sys/fs/cgroup'
    for line in _read(system / 'proc/self/cgroup').splitlines():
        _, controllers, path = [*line.split(':', 2), '', ''][:3]
        if controllers == '':  # version 2
            roots = [mounted, mounted / 'unified']
        elif 'cpu' in controllers.split(','):  # version 1
            roots = [mounted / controllers, mounted / 'cpu']
        else:
            continue
        group = PurePosixPath(path.lstrip('/'))
        for root in roots:
            for part in (group, *group.parents):
                if '..' not in part.parts:
                    yield root / part


def _limits(group: Path) -> Iterator[tuple[int, int]]:
    """(quota, period), in microseconds, of a group; a quota of -1 is none."""
    yield from _numbers(_read(group / 'cpu.max'))
    quota, period = (_read(group / f'cpu.cfs_{name}_us') for name in ('quota', 'period'))
    yield from _numbers(f'{quota} {period}')


def _numbers(text: str) -> Iterator[tuple[int, int]]:
    try:
        quota, period = map(int, text.split())
    except ValueError:  # 'max 100000', or nothing
        return
    yield quota, period


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='ascii')
    except (OSError, ValueError):
        return ''
