"""Terminals, for what is shown on them alone."""

import contextlib
import fcntl
import io
import os
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence


class Terminal(io.StringIO):
    """A stream within this process that says that it is one."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def started_on_terminal(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process whose stdout and stderr are a terminal, and where to read what is on it."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 200, 0, 0))
    with subprocess.Popen(command, stdout=its, stderr=its, stdin=its) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def lines_until_its_end(terminal: int) -> Sequence[str]:
    """What is written until the process ends, as lines; those within a line by \\r, too."""
    read = b''
    with contextlib.suppress(OSError):  # EIO: the process has ended
        while part := os.read(terminal, 2**16):
            read += part
    return read.decode().replace('\r\n', '\n').split('\n')
