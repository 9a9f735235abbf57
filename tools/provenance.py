"""Where figures come from: command, date, commit, machine, and the code that they are of."""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modules.runtime.process import available_cores

ROOT = Path(__file__).resolve().parent.parent


def provenance(code: Iterable[str]) -> dict[str, Any]:
    """What stands beside figures in their JSON.

    Args:
        code: files and folders of this project, whose change would make the figures old.
    """
    return {
        'command': shlex.join(['python', *sys.argv]),
        'date': time.strftime('%Y-%m-%d', time.gmtime()),
        'commit': _commit(),
        'machine': describe_machine(),
        'code': {name: code_hash(ROOT / name) for name in code},
    }


def code_hash(path: Path) -> str:
    """Of a file, or of all sources below a folder: the start of a SHA-256."""
    digest = hashlib.sha256()
    files = sorted(path.rglob('*.py')) if path.is_dir() else [path]
    for file in files:
        digest.update(f'{file.relative_to(path.parent).as_posix()}\n'.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def changed_since(made: dict[str, Any], root: Path = ROOT) -> list[str]:
    """Which of the code that figures are of is another one by now, or gone."""
    return [
        name
        for name, digest in made['code'].items()
        if not (root / name).exists() or code_hash(root / name) != digest
    ]


def _commit() -> str:
    """Of this project; 'unknown' where it is no clone."""
    command = ['git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD']
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return done.stdout.strip()


def describe_machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        'cpu': _cpu_model(),
        'cores': available_cores(),
        'memory_bytes': os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'),
        'load': os.getloadavg()[0],  # processes that wanted to run during the last minute
        'system': platform.platform(),
        'python': platform.python_version(),
        'paddle': _version_of('paddlepaddle', 'paddlepaddle-gpu'),
        'numpy': _version_of('numpy'),
    }


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version_of(*packages: str) -> str:
    """Of the first that is installed; importing Paddle here would set threads for the others."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'absent'
