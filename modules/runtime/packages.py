"""What a command needs before anything else: this Python's version, and the packages.

Imported, and called, before any of them; by an old Python, too.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ((3, 10), (3, 13))
# Under the names by which they are imported.
PACKAGES = (
    'numpy', 'scipy', 'skimage', 'av', 'filelock', 'imageio', 'imageio_ffmpeg', 'PIL',
    'safetensors', 'yaml', 'tqdm',
)  # fmt: skip


def require_packages(paddle: bool = True) -> None:
    """Ends the program, with one line and status 2, where its Python lacks what it needs.

    Args:
        paddle: whether PaddlePaddle is needed, too.
    """
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `run_command` is reached: Ctrl+C while modules are loaded is worth no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    problem = None
    version = sys.version_info[:2]
    if not VERSIONS[0] <= version <= VERSIONS[1]:
        least, most = ('.'.join(map(str, number)) for number in VERSIONS)
        problem = f'is Python {version[0]}.{version[1]}, and this project needs {least} to {most}'
    else:
        wanted = (*PACKAGES, 'paddle') if paddle else PACKAGES
        absent = [name for name in wanted if importlib.util.find_spec(name) is None]
        if absent:
            more = f' and {len(absent) - 2} more' if len(absent) > 2 else ''
            problem = f'has no {", ".join(absent[:2])}{more}'
    if problem:
        print(f'error: {sys.executable} {problem}: {_mend()}', file=sys.stderr)
        sys.exit(2)


def _is_command() -> bool:
    """Whether this process is one of the project's commands, not a program that imports it."""
    started = getattr(sys.modules.get('__main__'), '__file__', None)
    return started is not None and Path(started).resolve().parent in (ROOT, ROOT / 'tools')


def _mend() -> str:
    """Which Python has them: that of `make setup`, if it is there and another one."""
    for python in ('bin/python', 'Scripts/python.exe'):
        path = ROOT / '.venv' / python
        if path.exists() and os.path.abspath(sys.prefix) != str(ROOT / '.venv'):
            return f'run it by {_shown(path)}'
    requirements = _shown(ROOT / 'requirements-cpu.txt')
    return f'run `make setup`, or `python -m pip install -r {requirements}` in an environment'


def _shown(path: Path) -> str:
    """A path as short as it can be given from here."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if folder in path.parents else path)
