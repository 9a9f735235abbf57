"""What documents name is there: files, sections, commands and their options."""

import re
import subprocess
import sys
from functools import cache

import pytest

from tests.support.documents import (
    DOCUMENTS,
    MARKS,
    NEEDS,
    OTHERS,
    SHELL,
    SHOWN,
    all_commands,
    anchors,
    blocks,
    commands,
    inline_commands,
    script_of,
    text_of,
)
from tests.support.places import ROOT

ALL = (*DOCUMENTS, *OTHERS)
# Systems for which commands stand in documents, and on which nobody has typed them.
UNTRIED = 'Windows', 'macOS', 'conda', 'AI Studio'


@cache
def help_of(*words):
    """What a script, or one of its commands, says of its options."""
    done = subprocess.run(
        [sys.executable, *words, '--help'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_known(script, *words):
    """The script is there, and so are its options and the files that it is given."""
    if script == 'example.py':  # of an export
        return
    assert (ROOT / script).exists(), script
    known = help_of(script, *words[: script == 'tools/parity.py'])
    for word in words:
        option = word.split('=')[0]
        if option.startswith('--'):
            assert re.search(rf'{option}\b', known), f'{script} {option}'
        if word.startswith(('config/', 'doc/demo', 'requirements')):
            assert (ROOT / word).exists() or word == 'doc/demo.gif', word


def test_there_are_commands():
    assert sum(bool(script_of(c.words)) for name in ALL for _, c in all_commands(name)) > 45
    assert sum(len(list(inline_commands(name))) for name in ALL) > 15


@pytest.mark.parametrize('document', ALL)
def test_links_lead_somewhere(document):
    path = ROOT / document
    for link in re.findall(r'\]\(([^)\s]+)\)', text_of(document)):
        if link.startswith('http'):
            continue
        place, _, section = link.partition('#')
        target = path.parent / place if place else path
        assert target.exists(), link
        if section and not section.startswith('L'):
            assert section in anchors(target), link


@pytest.mark.parametrize('document', ALL)
def test_commands_have_what_they_name(document):
    found = [command.words for _, command in all_commands(document)]
    for words in (*found, *inline_commands(document)):
        if script := script_of(words):
            assert_known(*script)
        if words[0] == 'make':
            assert re.search(rf'^{words[1]}:', text_of('Makefile'), re.M), words
        if words[:4] == ['python', '-m', 'pip', 'install']:
            assert_requirements_are_there(words)


def assert_requirements_are_there(words):
    for word in words:
        if word.startswith('requirements'):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize('document', ALL)
def test_blocks_can_be_read(document):
    """Each says what it is, nothing in it is left out, and a comment before it means something."""
    for block in blocks(document):
        assert block.language in (*SHELL, *SHOWN, 'python'), block.place
        assert set(block.marks) <= set(MARKS), block.place
        assert block.marks.get('needs', NEEDS[0]) in NEEDS, block.place
        if block.language in SHELL:
            assert '...' not in block.text.replace(' ...`', ''), f'{block.place}: what is left out?'
            assert list(commands(block)), block.place
        if block.language == 'python':
            assert '...' not in block.text, f'{block.place}: what is left out?'
            compile(block.text, block.place, 'exec')
    assert text_of(document).count('<!-- ') == sum(len(b.marks) for b in blocks(document))


@pytest.mark.parametrize('document', DOCUMENTS)
def test_what_nobody_has_tried_is_said_to_be_so(document):
    """In each section that has a command for such a system."""
    for section in re.split(r'^#+ ', text_of(document), flags=re.M):
        for system in UNTRIED:
            if system in section and re.search(r'python|pip|conda ', section):
                assert re.search(r'not (been )?tried', section), f'{section[:40]}: {system}'


@pytest.mark.parametrize('document', ALL)
def test_files_of_the_project_are_there(document):
    """Those that are named by a path from its root, in sentences and tables."""
    named = re.findall(
        r'(?<![\w/.])(?:modules|tools|tests|config|findings)/[\w/-]+\.\w+', text_of(document)
    )
    for path in set(named) - {'tools/first-order-demo.py'}:  # PaddleGAN's
        assert (ROOT / path).exists(), path
