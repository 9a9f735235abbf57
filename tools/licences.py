"""Writes doc/licences.md: the licence of each package that an install brings along.

    python tools/licences.py

`make licences` does so, in the environment that `make test-all` has made. Licences are what the
packages' own metadata say, of all that requirements-cpu.lock and the requirements of extras name.
"""

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.files import atomic_output
from tools.markdown import table

OUT = ROOT / 'doc' / 'licences.md'
SOURCES = (
    'requirements-cpu.lock',
    'requirements-faces.txt',
    'requirements-export.txt',
    'requirements-web.txt',
    'requirements-browser.txt',
    'requirements-notebook.txt',
)
_NAME = re.compile(r'^([A-Za-z0-9._-]+)==', re.MULTILINE)
_CLASSIFIER = 'License :: '
_LONGEST = 60  # characters; some packages put the whole text there
_HEAD = """\
# Licences

What the packages that this project needs say of their licences, for the versions in
`requirements-cpu.lock` and in the requirements of extras. Made by `make licences`. The GPU build of
PaddlePaddle brings NVIDIA's libraries along, which have a licence of their own. The wheels of av
and imageio-ffmpeg bring builds of FFmpeg with x264 along, which are under the GPL.

"""


def main() -> None:
    ArgumentParser(description='Lists the licences of all packages.').parse_args()
    lines = table(('package', 'version', 'licence', 'named in'), rows())
    with atomic_output(OUT) as path:
        path.write_text(_HEAD + '\n'.join(lines) + '\n', encoding='utf-8')
    print(f'written: {OUT.relative_to(ROOT)}')


def rows() -> Iterator[Sequence[str]]:
    """(package, version, licence, file) of each, by name."""
    named: dict[str, str] = {}
    before = known_rows()
    for source in SOURCES:
        for name in _NAME.findall((ROOT / source).read_text(encoding='utf-8')):
            named.setdefault(name, source)
    for name, source in sorted(named.items()):
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            yield before.get(name) or (name, '', 'not installed where this was made', source)
        else:
            yield name, metadata['Version'], licence_of(metadata.json), source


def known_rows() -> dict[str, Sequence[str]]:
    """Rows of the document as it stands, by package: some are for another Python than this."""
    if not OUT.exists():
        return {}
    lines = OUT.read_text(encoding='utf-8').splitlines()
    found = (line.strip('| ').split(' | ') for line in lines if line.startswith('| '))
    return {cells[0]: cells for cells in found if len(cells) == 4 and cells[1]}


def licence_of(metadata: Mapping[str, Any]) -> str:
    """What a package's metadata say: an SPDX expression, or classifiers, or a line of text."""
    expression = metadata.get('license_expression')
    classifiers = [
        text.rpartition(' :: ')[2]
        for text in metadata.get('classifier', ())
        if text.startswith(_CLASSIFIER) and not text.endswith('OSI Approved')
    ]
    text = ' '.join(metadata.get('license', '').split())
    if expression:
        return str(expression)
    if text and (len(text) <= _LONGEST or not classifiers):
        return text[:_LONGEST]
    return ', '.join(classifiers) or 'unknown'


if __name__ == '__main__':
    run_command(main)
