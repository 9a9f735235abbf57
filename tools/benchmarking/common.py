"""What the benchmark and the processes that it measures share. Needs NumPy only.

A measured process gets its job as JSON on stdin and the path for its result as its last argument;
several that train together, which can't all read from stdin, get the job's path as the one before.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Of random weights and frames.
SEED = 0


class Series(NamedTuple):
    """The same thing measured several times."""

    values: tuple[float, ...]
    more_is_better: bool = False  # as of rates

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def best(self) -> float:
        return max(self.values) if self.more_is_better else min(self.values)

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.values) - min(self.values)) / self.median

    def as_json(self) -> dict[str, Any]:
        return {
            'median': self.median,
            'best': self.best,
            'spread': self.spread,
            'values': list(self.values),
        }


class Report(NamedTuple):
    """What a section of the benchmark found."""

    lines: tuple[str, ...]  # Markdown
    series: dict[str, Series]  # everything timed, by name, whose spread is of interest
    figures: dict[str, Any]  # for JSON


def peak_memory() -> int:
    """The most bytes of memory that this process, since it became this program, has held."""
    try:
        with open('/proc/self/status', encoding='ascii', errors='replace') as file:
            for line in file:
                if line.startswith('VmHWM:'):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    # In kilobytes, but on a Mac. On Linux it would count what was held before exec, too.
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def read_job() -> tuple[dict[str, Any], Path]:
    """This process's job and the path for its result."""
    *files, result = sys.argv[1:]
    if files:
        return json.loads(Path(files[0]).read_text(encoding='utf-8')), Path(result)
    return json.load(sys.stdin), Path(result)


def write_result(path: Path, **values: Any) -> None:
    """Writes the result, with this process's peak memory unless it is given."""
    values.setdefault('peak_bytes', peak_memory())
    path.write_text(json.dumps(values), encoding='utf-8')


def frames_file(path: Path) -> Path:
    """Where the frames lie that belong to a result."""
    return path.with_suffix('.frames')


def write_frames(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Appends frames, any floats, to those that `read_frames` gives for this result."""
    with open(frames_file(path), 'ab') as file:
        for frame in frames:
            file.write(np.ascontiguousarray(frame, np.float32).tobytes())


def read_frames(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) float32: what a process wrote beside its result; size: (H, W)."""
    return np.fromfile(frames_file(path), np.float32).reshape(-1, *size, 3)


def read_inputs(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def timed(items: Iterable) -> Iterator[tuple[float, Any]]:
    """(seconds that it took to come, item) of each item."""
    iterator = iter(items)
    while True:
        start = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield time.perf_counter() - start, item
