"""What documents name is there: files, sections, commands and their options."""

import re
import shlex
import subprocess
import sys
from functools import cache

import pytest

from tests.support.places import ROOT

DOCUMENTS = [ROOT / 'README.md', ROOT / 'findings' / 'README.md', *sorted(ROOT.glob('doc/*.md'))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def anchors(path):
    """The sections of a document, as a link names them."""
    titles = re.findall(r'^#+ (.*)', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def commands(path):
    """Each command of a document's blocks that starts a script of this project, as words."""
    blocks = re.findall(r'^```(\w*)\n(.*?)^```', path.read_text('utf-8'), re.M | re.S)
    shell = '\n'.join(text for language, text in blocks if language in ('', 'sh', 'bash'))
    for line in shell.replace('\\\n', ' ').splitlines():
        if 'python' not in line:
            continue
        words = shlex.split(line, comments=True)
        scripts = [word for word in words if re.fullmatch(r'(tools/)?\w+\.py', word)]
        if 'python' in words[:3] and scripts:
            yield words[words.index(scripts[0]) :]


@cache
def help_of(*words):
    """What a script, or one of its commands, says of its options."""
    done = subprocess.run(
        [sys.executable, *words, '--help'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_commands():
    assert sum(len(list(commands(path))) for path in DOCUMENTS) > 40


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path):
    for link in re.findall(r'\]\(([^)\s]+)\)', path.read_text(encoding='utf-8')):
        if link.startswith('http'):
            continue
        place, _, section = link.partition('#')
        target = path.parent / place if place else path
        assert target.exists(), link
        if section:
            assert section in anchors(target), link


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_commands_have_what_they_name(path):
    for script, *words in commands(path):
        if script == 'example.py':  # of an export
            continue
        assert (ROOT / script).exists(), script
        known = help_of(script, *words[: script == 'tools/parity.py'])
        for word in words:
            option = word.split('=')[0]
            if option.startswith('--'):
                assert re.search(rf'{option}\b', known), f'{script} {option}'
            if word.startswith(('config/', 'doc/demo', 'requirements')):
                assert (ROOT / word).exists(), word
