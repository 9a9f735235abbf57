"""`--help` of every command: each option is explained, and says what happens without it."""

import argparse
import re
import runpy
from pathlib import Path

import pytest

from modules.runtime.commands import ArgumentParser
from tests.support.places import ROOT

pytestmark = pytest.mark.quick
DOORS = ('demo.py', 'train.py', 'animate.py')
COMMANDS = [
    path.relative_to(ROOT).as_posix()
    for path in [*(ROOT / name for name in DOORS), *sorted((ROOT / 'tools').glob('*.py'))]
    if 'run_command(' in path.read_text(encoding='utf-8')
]


class BuiltError(BaseException):
    """Ends a command when it has built its parser; no command catches it."""

    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


def parser_of(command: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    def end(self: ArgumentParser, *_: object) -> None:
        raise BuiltError(self)

    monkeypatch.setattr(ArgumentParser, 'parse_known_args', end)
    with pytest.raises(BuiltError) as ended:
        runpy.run_path(str(ROOT / command), run_name='__main__')
    return ended.value.parser


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Also those of commands within the command."""
    actions: list[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            actions += [each for inner in action.choices.values() for each in actions_of(inner)]
        actions.append(action)
    return actions


def test_finds_the_commands():
    assert {*DOORS, 'tools/export.py', 'tools/webui.py'} <= set(COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_each_option_is_explained_and_tells_its_default(command, monkeypatch):
    parser = parser_of(command, monkeypatch)
    assert parser.description, 'what does the command do?'
    shown = ' '.join(parser.format_help().split())
    for action in actions_of(parser):
        name = '/'.join(action.option_strings) or action.dest
        assert action.help, f'{command} {name}: no text'
        assert not re.match(r'(of|that) ', action.help), f'{command} {name}: of what? what does?'
        takes_value = action.option_strings and action.nargs != 0 and not action.required
        if takes_value and action.default not in (None, []) and action in parser._actions:
            told = shown.split(' '.join(action.help.split()).replace('%%', '%'))[1]
            assert re.search('default|left out', action.help) or told.startswith(' (default: '), (
                f'{command} {name}: what if it is left out?'
            )


def test_default_is_told_as_it_is_typed():
    parser = ArgumentParser()
    parser.add_argument('--picture', type=Path, default=ROOT / 'doc' / 'a%b.png', help='which')
    parser.add_argument('--count', type=int, default=0, help='how many')
    parser.add_argument('--rates', nargs='+', default=[0.5, 2.0], help='at which rates')
    parser.add_argument('--flag', action='store_true', help='a flag')
    parser.add_argument('--told', default='x', help='if left out, x')
    parser.add_argument('--free', help='without a default')
    text = ' '.join(parser.format_help().split())
    assert '--picture FILE which (default: doc/a%b.png)' in text
    assert '--count N how many (default: 0)' in text
    assert 'at which rates (default: 0.5 2)' in text
    assert text.count('default:') == 3
