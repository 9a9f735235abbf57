"""doc/own-data.md: each command in it is run, in order, with smaller sizes."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.support.places import ROOT

TEXT = (ROOT / 'doc' / 'own-data.md').read_text(encoding='utf-8')
COMMANDS = [
    line.partition('  #')[0].strip()
    for block in re.findall(r'^```sh\n(.*?)^```', TEXT, re.S | re.M)
    for line in block.splitlines()
    if line
]
# What makes them quick: in the document, and in this test.
SMALLER = {
    '--size 240 --frames 90': '--size 96 --frames 32',
    '--size 128': '--size 64 --min_size 30 --min_frames 10 --crop object',
    '--steps 200': '--steps 2',
    '--out figures': '--out figures --num_videos 1 --metrics l1 --engine eager',
    'animate.py': 'animate.py --engine eager',
    'demo.py': 'demo.py --engine eager --frames 3',
}


def test_commands_are_found():
    assert len(COMMANDS) == 10 and TEXT.count('```') == 2 * 6
    for text in SMALLER:
        assert sum(text in command for command in COMMANDS) == 1


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    for path in (*ROOT.glob('*.py'), *(ROOT / name for name in ('tools', 'doc', 'config'))):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / 'data').mkdir()
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    for command in COMMANDS:
        for text, smaller in SMALLER.items():
            command = command.replace(text, smaller)
        program, *arguments = shlex.split(command)
        program = sys.executable if program == 'python' else program
        ended = subprocess.run(
            [program, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, f'{command}: {ended.stderr}'
    for made in ('data/mine/contact-sheet.png', 'run/config.yaml', 'run/log.txt', 'first.mp4'):
        assert (tmp_path / made).stat().st_size > 0
    assert not (tmp_path / 'run-2').exists()
    assert any((tmp_path / 'run' / 'animation').rglob('*.mp4'))
    assert (tmp_path / 'figures' / 'summary.json').exists()
