"""Writes requirements-cpu.lock: every package of a CPU install, exact, with its checksum.

    python tools/lock_requirements.py [PYTHON ...]

`make lock` does so. Each Python (python3.10 to python3.13 by default) asks pip what it would
install for requirements-cpu.txt and requirements-dev.txt, without installing it. The lock is for
the platform that this runs on, Linux on x86_64: `make setup` takes it there, and the requirements
elsewhere.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output

LOCK = ROOT / 'requirements-cpu.lock'
REQUIREMENTS = ('requirements-cpu.txt', 'requirements-dev.txt')
PYTHONS = ('python3.10', 'python3.11', 'python3.12', 'python3.13')
# pip's settings that would take packages from elsewhere, or other ones.
_SOURCES = ('FIND_LINKS', 'INDEX_URL', 'EXTRA_INDEX_URL', 'CONSTRAINT', 'NO_INDEX', 'PRE')
_HEAD = """\
# Every package of a CPU install and its checksum, for Linux on x86_64. Made by `make lock`; the
# versions are chosen in requirements-common.txt, requirements-cpu.txt and requirements-dev.txt.
"""


class Package(NamedTuple):
    """A release, by its normalised name."""

    name: str
    version: str


def main() -> None:
    parser = ArgumentParser(description='Locks the requirements of a CPU install.')
    text = f'interpreters to lock for (default: {" ".join(PYTHONS)})'
    parser.add_argument('pythons', nargs='*', default=PYTHONS, metavar='PYTHON', help=text)
    options = parser.parse_args()
    found = {}
    for python in options.pythons:
        version, packages = resolve(python)
        found[version] = packages
        print(f'Python {version}: {len(packages)} packages', flush=True)
    with atomic_output(LOCK) as path:
        path.write_text(lock_text(found), encoding='utf-8')
    print(f'written: {LOCK.name}')


def resolve(python: str) -> tuple[str, dict[Package, str]]:
    """What pip would install for a Python -> its version, such as 3.10, and checksums (SHA-256).

    Raises:
        UserError: there is no such Python, or pip finds no answer.
    """
    environment = {
        key: value
        for key, value in os.environ.items()
        if key.removeprefix('PIP_') not in _SOURCES or not key.startswith('PIP_')
    }
    environment['PIP_CONFIG_FILE'] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        inner = Path(folder) / 'venv' / 'bin' / 'python'
        wanted = [part for name in REQUIREMENTS for part in ('-r', str(ROOT / name))]
        commands = (
            [python, '-m', 'venv', str(inner.parent.parent)],
            [
                *(str(inner), '-m', 'pip', 'install', '--quiet', '--dry-run'),
                *('--ignore-installed', '--only-binary', ':all:', '--report', str(report), *wanted),
            ],
        )
        for command in commands:
            try:
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError) as error:
                raise UserError(f'{python}: {error}') from error
        told = json.loads(report.read_text(encoding='utf-8'))
    packages = {}
    for item in told['install']:
        name = item['metadata']['name'].lower().replace('_', '-').replace('.', '-')
        package = Package(name, item['metadata']['version'])
        packages[package] = item['download_info']['archive_info']['hashes']['sha256']
    return '.'.join(told['environment']['python_full_version'].split('.')[:2]), packages


def lock_text(found: Mapping[str, Mapping[Package, str]]) -> str:
    """The lock of these Pythons: a line for a release, with all checksums of its files.

    Args:
        found: {version of a Python: {release: SHA-256 of its file}}.
    """
    pythons: dict[Package, list[str]] = defaultdict(list)
    checksums: dict[Package, set[str]] = defaultdict(set)
    for version, packages in sorted(found.items()):  # they all have two digits
        for package, checksum in packages.items():
            pythons[package].append(version)
            checksums[package].add(checksum)
    lines = [_HEAD]
    for package in sorted(pythons):
        marker = _marker(pythons[package], list(found))
        hashes = ''.join(f' \\\n    --hash=sha256:{sum_}' for sum_ in sorted(checksums[package]))
        lines.append(f'{package.name}=={package.version}{marker}{hashes}\n')
    return ''.join(lines)


def _marker(versions: Sequence[str], every: Sequence[str]) -> str:
    if set(versions) == set(every):
        return ''
    return ' ; ' + ' or '.join(f"python_version == '{version}'" for version in versions)


if __name__ == '__main__':
    run_command(main)
