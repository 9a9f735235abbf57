"""What every command shares: messages, exit status, outputs whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from modules.runtime.commands import ArgumentParser
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output, check_output
from modules.runtime.process import ending_signals
from tests.support.places import ROOT, foreign_folder


def run_main(body, redirection, cwd):
    """A command whose main is `body`, run by a shell: (exit status, stdout, stderr)."""
    rooms = ('commands', 'errors', 'files')
    lines = ['import os, sys, time, warnings']
    lines += [*(f'from modules.runtime.{room} import *' for room in rooms), 'def main():']
    lines += [f'    {line}' for line in body.split('\n')] + ['run_command(main)']
    script = f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ['bash', '-c', script, sys.executable, '\n'.join(lines)],
        cwd=cwd, env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('stream, redirection', [('stdout', '| true'), ('stderr', '2>&1 | true')])
def test_the_work_goes_on_when_the_reader_leaves(tmp_path, stream, redirection):
    body = f'for _ in range(3000): print("x" * 1000, file=sys.{stream}, flush=True)'
    body += '\nopen("done", "w").close()'
    assert run_main(body, redirection, tmp_path) == (0, '', '')
    assert (tmp_path / 'done').exists()


def test_what_is_still_in_the_buffer_when_the_reader_has_left(tmp_path):
    assert run_main('time.sleep(0.5); print("x")', '| true', tmp_path) == (0, '', '')


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '>&- 2>&-', '<&- >&- 2>&-'])
def test_closed_streams(tmp_path, closed):
    """What is written to them gets into no file that is opened next."""
    body = 'with open("result", "w") as file:\n    assert file.fileno() > 2\n    '
    body += 'print("out"); print("err", file=sys.stderr); warnings.warn("w"); os.write(2, b"raw")\n'
    body += 'from tqdm import tqdm\nassert list(tqdm(range(3), disable=None)) == [0, 1, 2]'
    status, out, err = run_main(body, closed, tmp_path)
    assert status == 0 and (tmp_path / 'result').read_text() == ''
    assert out == ('' if '>&-' in closed.split() else 'out\n')
    assert err == ('' if '2>&-' in closed else 'err\nwarning: w\nraw')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
def test_messages_on_a_full_disk(tmp_path):
    status, _, err = run_main('print("x")', '> /dev/full', tmp_path)
    assert status == 2
    assert err == 'error: No space left on device: free space or choose another output\n'


@pytest.mark.parametrize('say', ['note(x)', 'warn(x)', 'warnings.warn(x)', 'raise UserError(x)'])
def test_control_characters_are_shown_and_obeyed_by_no_terminal(tmp_path, say):
    """Names from files of others may turn a terminal's title, colours or direction."""
    odd = ['\x1b[31m', '\x07', '\x7f', '\x85', '\x9b1m', '\udcff', '\u2028', '\u202e', '\r']
    body = f'from modules.runtime.messages import note, warn\nx = {".".join(odd)!a}\n{say}'
    _, _, err = run_main(body, '', tmp_path)
    assert err.count('\n') == 1 and err[:-1].isprintable()
    shown = ['\\x1b[31m', '\\x07', '\\x7f', '\\x85', '\\x9b1m', '\\udcff', '\\u2028', '\\u202e']
    if 'warnings' not in say:  # which are sentences of libraries
        assert err.endswith('.'.join([*shown, '\\r']) + '\n')


def test_names_of_all_languages_are_shown_as_they_are(tmp_path):
    names = ['Größe 1.png', 'été', 'пример', '例', 'भाषा', 'a\u200db', 'a\u202fb', '😀']
    body = f'from modules.runtime.messages import note\nfor x in {names!a}: note(x)'
    _, _, err = run_main(body, '', tmp_path)
    assert err.splitlines() == [f'note: {name}' for name in names]


def test_system_errors_are_worded_by_what_mends_them(tmp_path):
    for number, mend in ((errno.EACCES, 'change its permissions'), (errno.ENOSPC, 'free space')):
        body = f'raise OSError({number}, "x", "file.dat")'
        status, _, err = run_main(body, '', tmp_path)
        assert status == 2 and err.count('\n') == 1
        assert f'(file.dat): {mend}' in err
    status, _, err = run_main('os.stat("a" * 5000)', '', tmp_path)
    name = f'{"a" * 40}...{"a" * 37}'
    assert status == 2 and err == f'error: File name too long ({name}): give a shorter one\n'
    status, _, err = run_main('raise OSError(5, "x")', '', tmp_path)
    assert status == 1 and 'Traceback' in err


def test_the_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match=r'a\.npz') as error, atomic_output(tmp_path / 'a.npz'):
        raise OSError(errno.ENOSPC, 'x')
    assert error.value.filename == str(tmp_path / 'a.npz')
    with pytest.raises(OSError, match='elsewhere') as error, atomic_output(tmp_path / 'a') as path:
        (path.with_name('nowhere') / 'elsewhere').touch()
    assert error.value.filename != str(tmp_path / 'a')  # not the disk's fault


@pytest.mark.parametrize('folder', [False, True])
def test_places_where_nothing_can_be_written(tmp_path, folder):
    """check_output finds at once what atomic_output would, in the same words."""
    (tmp_path / 'file').touch()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    (tmp_path / 'loop').symlink_to('loop')
    with foreign_folder() as foreign:
        check, output = messages_of(foreign / 'a', folder)
    assert check == output == f'{foreign}: no permission to write; choose another folder'
    places = {
        tmp_path / 'nowhere' / 'a': 'no such folder',
        tmp_path / 'file' / 'a': 'no such folder',
        tmp_path / 'full': 'exists already' if folder else 'is a folder',
        tmp_path / ('x' * 300): 'file name too long',
        tmp_path / ('x' * 300) / 'a': 'file name too long',
        tmp_path / 'loop': 'symbolic links',
        tmp_path / 'loop' / 'a': 'symbolic links',
    }
    if folder:
        places[tmp_path / 'file'] = 'exists already'
    before = sorted(tmp_path.iterdir())
    for path, reason in places.items():
        check, output = messages_of(path, folder)
        assert check == output and reason in check
        assert check.startswith((f'{path}: ', f'{path.parent}: '))
    assert sorted(tmp_path.iterdir()) == before


def messages_of(path, folder):
    with pytest.raises(UserError) as check:
        check_output(path, folder)
    with pytest.raises(UserError) as output, atomic_output(path, folder):
        raise AssertionError('entered')
    return str(check.value), str(output.value)


def test_places_where_something_can_be_written(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    (tmp_path / 'empty').mkdir()
    for name, folder in (('file', False), ('empty', True), ('x' * 255, False), ('x' * 255, True)):
        check_output(tmp_path / name, folder)
        with atomic_output(tmp_path / name, folder) as path:
            assert path.name == name and path.is_dir() == folder
            (path / 'a' if folder else path).touch()
        assert (tmp_path / name).is_dir() == folder
        if len(name) == 255:
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            (tmp_path / name).unlink(missing_ok=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty', 'file']
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert 'exists already' in messages_of('.', True)[0]


def test_signals_that_end_a_process():
    kept = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert ending_signals() == [signal.SIGTERM, signal.SIGHUP]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert ending_signals() == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, kept)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ('--driving-video x', 'no option --driving-video; did you mean --driving_video?'),
        ('--driv x', 'no option --driv; did you mean --driving_video?'),
        ('--adopt_scale=3', 'no option --adopt_scale; did you mean --adapt_scale?'),
        ('-cpu', 'no option -cpu; did you mean --cpu?'),
        ('--best', 'no option --best; did you mean --best_frame?'),
        ('--nonsense', 'no option --nonsense (see --help)'),
        ('inner --fas', 'no option --fas; did you mean --fast?'),
        ('inner --cpu', 'no option --cpu'),
        ('-n 1', 'are required: --driving_video'),
    ],
)
def test_misspelt_options(arguments, message):
    """They are named before what else is missing, and none is short for another."""
    with pytest.raises(UserError) as error:
        options_parser().parse_args(arguments.split())
    assert message in str(error.value)


def test_values_without_their_options():
    parser = ArgumentParser()
    parser.add_argument('--picture')
    with pytest.raises(UserError, match=r'arguments: me\.jpg; give each value behind the name of'):
        parser.parse_args(['me.jpg'])


def test_values_that_look_like_options():
    parse = options_parser().parse_args
    assert parse(['--driving_video=--x', '-n-1']).n == -1
    assert parse(['--driving_video', '-1', '-n', '-2']).driving_video == '-1'


def options_parser():
    parser = ArgumentParser()
    parser.add_argument('--driving_video', required=True)
    parser.add_argument('--best_frame', type=int)
    parser.add_argument('--adapt_scale')
    parser.add_argument('--cpu', action='store_true')
    parser.add_argument('-n', type=int)
    parser.add_subparsers().add_parser('inner').add_argument('--fast')
    return parser
