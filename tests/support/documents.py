"""The documents, read: their blocks, and the commands in these.

Two comments before a block, which no reader sees, say what can't be told from the block itself:

    <!-- needs: PyTorch -->           why it is not run; one of NEEDS
    <!-- printed by: python X.py -->  the block is what this command prints
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.places import ROOT

DOCUMENTS = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'README.md', *sorted(ROOT.glob('doc/*.md')))
)
OTHERS = 'CONTRIBUTING.md', 'findings/README.md'  # of which no command is run
SHELL = '', 'sh', 'bash'
SHOWN = 'text', 'csv', 'yaml', 'mermaid', 'bibtex'  # blocks in which nothing can be run
NEEDS = 'PyTorch', 'other machines'
MARKS = 'needs', 'printed by'
_MARK = re.compile(r'<!-- ([a-z ]+): (.+?) -->')


class Block(NamedTuple):
    """What stands between two fences."""

    document: str
    line: int  # of its first line
    language: str
    text: str
    section: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        return f'{self.document}:{self.line}'


class Command(NamedTuple):
    """A line of the shell, with those that it goes on in."""

    place: str
    text: str  # without its comment
    words: list[str]


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding='utf-8')


def blocks(document: str, text: str | None = None) -> list[Block]:
    """The blocks of a document.

    Args:
        text: what stands in it, if it isn't to be read.
    """
    found: list[Block] = []
    section, marks, inside = '', {}, None
    for number, line in enumerate((text or text_of(document)).splitlines(), 1):
        if inside is not None:
            if line.startswith('```'):
                start, language, lines = inside
                body = '\n'.join(lines) + '\n'
                found.append(Block(document, start + 1, language, body, section, marks))
                inside, marks = None, {}
            else:
                inside[2].append(line)
        elif line.startswith('```'):
            inside = number, line[3:].strip(), []
        elif mark := _MARK.fullmatch(line.strip()):
            marks = {**marks, mark[1]: mark[2]}
        elif line.strip():
            marks = {}
            if heading := re.match(r'#+ (.*)', line):
                section = heading[1]
    assert inside is None, f'{document}: a block without an end'
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block of the shell."""
    number = block.line
    for line in re.sub(r'\\\n', '\\\\\0', block.text).splitlines():
        place, text = f'{block.document}:{number}', line.replace('\\\0', ' ')
        number += 1 + line.count('\0')
        words = shlex.split(text, comments=True)
        if words:
            yield Command(place, re.sub(r'\s{2,}', ' ', text.partition('  #')[0]).strip(), words)


def all_commands(document: str) -> Iterator[tuple[Block, Command]]:
    for block in blocks(document):
        if block.language in SHELL:
            for command in commands(block):
                yield block, command


def inline_commands(document: str) -> Iterator[list[str]]:
    """The words of each command of Python's that stands within a sentence or table."""
    prose = re.sub(r'^```.*?^```', '', text_of(document), flags=re.M | re.S)
    for code in re.findall(r'`([^`]+)`', prose):
        words = shlex.split(' '.join(code.split()), comments=True) if '"' not in code else []
        if 'python' in words:
            yield words


def script_of(words: list[str]) -> list[str]:
    """From the script of this project that a command starts on; nothing if it starts none."""
    for number, word in enumerate(words):
        if re.fullmatch(r'(tools/)?\w+\.py', word) and 'python' in words[:number]:
            return words[number:]
    return []


def anchors(path: Path) -> set[str]:
    """The sections of a document, as a link names them."""
    titles = re.findall(r'^#+ (.*)', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}
