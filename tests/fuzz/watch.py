"""What a reader may not do, noticed while it does: write elsewhere, run or import anything."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_RUNNING = (
    'subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork',
    'os.forkpty',
    'os.startfile', 'pty.spawn', 'pickle.find_class', 'ctypes.dlopen', 'webbrowser.open',
    'cpython.run_command', 'cpython.run_file', 'cpython.run_module',
)  # fmt: skip
_CHANGING = (
    'os.remove', 'os.rename', 'os.rmdir', 'os.mkdir', 'os.symlink', 'os.link', 'os.truncate',
    'os.chmod',
    'os.chown', 'os.utime', 'os.mkfifo', 'os.mknod', 'shutil.rmtree', 'shutil.move', 'os.setxattr',
)  # fmt: skip
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CYTHON = b'_getframe()'  # what its modules compile to name a line in a traceback
# Imported when first needed, by whoever reads: not by names in files.
_LATE = (
    'encodings.',
    'PIL.',
    'av.',
    'pillow_heif',
    'stringprep',
    'unicodedata',
    'bz2',
    'lzma',
    '_bz2',
    '_lzma',
)


class Watch:
    """Of this process; it can't be taken away again.

    Args:
        folders: where writing is allowed.
    """

    def __init__(self, *folders: Path):
        self._folders = tuple(map(os.path.realpath, folders))
        self._trusted = tuple(
            filter(None, map(os.path.realpath, (sys.prefix, sys.base_prefix, *sys.path)))
        )
        self._is_on = False
        self._faults: list[str] = []
        sys.addaudithook(self._hook)

    def start(self) -> None:
        self._modules = set(sys.modules)
        self._faults, self._is_on = [], True

    def stop(self) -> list[str]:
        """What was noticed since `start`."""
        self._is_on = False
        # Some ways to import raise no event.
        new = [] if len(sys.modules) == len(self._modules) else set(sys.modules) - self._modules
        told = (f'imports {name!r}' for name in sorted(new) if not name.startswith(_LATE))
        return [*self._faults, *(line for line in told if line not in self._faults)]

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        self._is_on = False  # what is done here is nobody's fault
        try:
            fault = self._fault(event, arguments)
            if fault is not None:
                self._faults.append(fault)
        finally:
            self._is_on = True

    def _fault(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event == 'open':
            path, mode, flags = arguments
            writes = flags & _WRITE_FLAGS if flags is not None else set(mode or '') & set('wax+')
            return f'writes {path!r}' if writes and not self._may_write(path) else None
        if event in _CHANGING:
            away = [path for path in _changed(arguments) if not self._may_write(path)]
            return f'{event} {away[0]!r}' if away else None
        if event == 'import':
            return None if arguments[0].startswith(_LATE) else f'imports {arguments[0]!r}'
        if event in ('exec', 'compile') and arguments[0] != _CYTHON:
            code = arguments[0] if event == 'exec' else None
            name = code.co_filename if code is not None else arguments[1]
            return None if self._is_of_a_module(name) else f'{event} of {name!r}'
        if event in _RUNNING or event.startswith('socket.'):
            return f'runs {event} {str(arguments)[:100]}'
        return None

    def _may_write(self, path: Any) -> bool:
        if isinstance(path, int) or path in ('/dev/null', os.devnull):
            return True
        real = os.path.realpath(os.fsdecode(path))
        return any(real == place or real.startswith(place + os.sep) for place in self._folders)

    def _is_of_a_module(self, name: Any) -> bool:
        text = os.fsdecode(name) if isinstance(name, (str, bytes)) else ''
        return text.startswith(('<frozen', *self._trusted))


def _changed(arguments: tuple[Any, ...]) -> Iterator[str]:
    """The paths, one or two, that are changed; they may be told from open folders on."""
    paths = [value for value in arguments[:2] if isinstance(value, (str, bytes, os.PathLike))]
    folders = arguments[-len(paths) :] if paths else ()
    for path, folder in zip(paths, folders):
        is_open = isinstance(folder, int) and folder >= 0
        yield os.path.join(f'/proc/self/fd/{folder}' if is_open else '', os.fsdecode(path))
