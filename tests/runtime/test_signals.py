"""A signal that is sent again, by somebody impatient, disturbs no cleaning up."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.places import ROOT

# Cleans up for a while, and prints when that is done; a library's object, half made, complains when
# it is destroyed.
COMMAND = """
import os, sys, time
from modules.runtime import signals
from modules.runtime.commands import run_command
from modules.runtime.process import end_by_exception
signals.GRACE = float(sys.argv[1])
class HalfMade:
    def __del__(self):
        raise AttributeError
def main():
    end_by_exception()
    half_made = HalfMade()
    try:
        os.write(1, b'at work\\n')
        time.sleep(60)
    finally:
        os.write(1, b'cleaning\\n')
        time.sleep(1)
        os.write(1, b'clean\\n')
run_command(main)
"""


def end(numbers, grace):
    """Sends a first signal, and others while it cleans up -> status, what it printed."""
    with subprocess.Popen(
        [sys.executable, '-c', COMMAND, str(grace)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == 'at work\n'
        process.send_signal(numbers[0])
        assert process.stdout.readline() == 'cleaning\n'
        for number in numbers[1:]:
            process.send_signal(number)
        printed, errors = process.communicate(timeout=60)
    assert 'Traceback' not in errors
    return process.returncode, printed


@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing(interruptible, first, second):
    assert end([first, second, second], grace=50) == (128 + first, 'clean\n')


def test_one_that_cleans_up_for_too_long_is_ended(interruptible):
    assert end([signal.SIGINT, signal.SIGTERM], grace=0) == (128 + signal.SIGTERM, '')


def test_ctrl_c_while_modules_are_loaded(tmp_path, interruptible):
    """No traceback; a program that imports a door keeps its own way."""
    (tmp_path / 'numpy.py').write_text(
        'import os, time\nos.write(1, b"loading\\n")\ntime.sleep(60)\n'
    )
    (tmp_path / 'mine.py').write_text('import demo')
    ends = {}
    for script in (ROOT / 'demo.py', tmp_path / 'mine.py'):
        with subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        ) as process:  # fmt: skip
            assert process.stdout.readline() == 'loading\n'
            process.send_signal(signal.SIGINT)
            ends[script.name] = process.communicate(timeout=60)[1], process.returncode
    assert ends['demo.py'] == ('', -signal.SIGINT)
    assert 'KeyboardInterrupt' in ends['mine.py'][0]
