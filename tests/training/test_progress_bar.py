"""Progress on a terminal and in a log."""

import io
import os
import re
import signal
import sys

import pytest

from modules.training.progress_bar import ProgressBar, Speed
from tests.support.places import ROOT
from tests.support.terminal import Terminal, lines_until_its_end, started_on_terminal
from tests.support.training_runs import run, start, write_clips, write_config


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_speed_is_that_since_it_was_last_taken(clock):
    speed = Speed(clock)
    for samples, seconds, expected in ((30, 10, 3), (4, 8, 0.5), (0, 1, 0)):
        speed.add(samples)
        clock.now += seconds
        assert speed.take() == expected


def test_a_log_gets_a_line_a_minute(clock, capsys):
    bar = ProgressBar(epochs=3, steps=50, batch_size=4, clock=clock)
    said = []
    for epoch, first in ((1, 10), (2, 0)):  # resumed in the second epoch
        bar.start(epoch, first)
        for step in range(first + 1, 51):
            clock.now += 2
            # The losses of a step come with the next one.
            bar.update({'pixel': 0.5, 'gan': step / 100} if step > first + 1 else {})
            said.append((clock.now - 100, capsys.readouterr().out))
        bar.close()
    said = [(seconds, line) for seconds, line in said if line]
    assert said == [
        (4, 'epoch 2/3, step 12/50: pixel 0.500, gan 0.120; 2 samples/s, 02:56 left\n'),
        (64, 'epoch 2/3, step 42/50: pixel 0.500, gan 0.420; 2 samples/s, 01:56 left\n'),
        (124, 'epoch 3/3, step 22/50: pixel 0.500, gan 0.220; 2 samples/s, 00:56 left\n'),
    ]


def test_a_terminal_gets_a_bar_and_no_lines(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    bar = ProgressBar(epochs=2, steps=1, batch_size=4, clock=clock)
    bar.start(1, 0)
    bar.update({'pixel': 0.5})
    bar.close()
    shown = sys.stderr.getvalue()
    assert 'epoch 2/2: 100%' in shown and 'pixel=0.5' in shown
    assert capsys.readouterr().out == ''


def test_the_bar_ends_before_an_error_is_said(clock, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    bar = ProgressBar(epochs=1, steps=9, batch_size=4, clock=clock)
    bar.start(0, 0)
    try:
        for _ in bar.shown_over(range(9)):
            raise RuntimeError
    except RuntimeError:
        assert '0/36' in sys.stderr.getvalue() and sys.stderr.getvalue().endswith('\n')


@pytest.mark.parametrize('stream', [io.StringIO, Terminal])
def test_other_processes_show_nothing(clock, capsys, monkeypatch, stream):
    monkeypatch.setattr(sys, 'stderr', stream())
    bar = ProgressBar(epochs=2, steps=1, batch_size=4, shown=False, clock=clock)
    bar.start(0, 0)
    bar.update({'pixel': 0.5})
    bar.close()
    assert capsys.readouterr().out == sys.stderr.getvalue() == ''


def test_train_reports_to_a_log_and_survives_its_end(tmp_path):
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data'), num_epochs=3)
    out, err = run('--config', config, '--save_dir', tmp_path / 'run')
    lines = re.findall(
        r'^epoch 1/3, step 2/2: pixel \d\.\d{3}, .*disc_gan \d\.\d{3}; .* samples/s, .* left$',
        out,
        re.MULTILINE,
    )
    assert len(lines) == 1 and '\repoch' not in err
    # The reader of the output goes away before the first line.
    process = start('--config', config, '--save_dir', tmp_path / 'unread')
    while 'steps an epoch' not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=300) == 0, err
    assert list((tmp_path / 'unread').glob('00000003-*.safetensors'))


def test_interrupted_on_a_terminal_it_ends_its_bar_before_it_says_so(interruptible, tmp_path):
    data = write_clips(tmp_path / 'data')
    config = write_config(tmp_path / 'c.yaml', data, num_repeats=10_000)
    arguments = ['--cpu', '--config', config, '--save_dir', tmp_path / 'run']
    command = [sys.executable, ROOT / 'train.py', *arguments]
    with started_on_terminal(list(map(str, command))) as (process, terminal):
        shown = b''
        while b'pixel=' not in shown:  # a bar with the losses of a step
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        lines = lines_until_its_end(terminal)
    said = [number for number, line in enumerate(lines) if line.startswith('interrupted; ')]
    assert len(said) == 1, lines
    assert not any('epoch' in line for line in lines[said[0] :])
