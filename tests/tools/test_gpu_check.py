"""tools/gpu_check.py: the command, its report, and checks that end in every way there is."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from modules.runtime.errors import UserError
from tests.support.places import ROOT
from tests.support.processes import alive, wait_until
from tools.gpu_checking import machine, worker
from tools.gpu_checking.catalogue import CATALOGUE, Entry, chosen
from tools.gpu_checking.findings import (
    FAIL,
    NOT_RUN,
    OK,
    Finding,
    Findings,
    NotRunError,
    Outcome,
    outcome_of,
)
from tools.gpu_checking.report import page
from tools.gpu_checking.running import ROOT as OF_CHECKS
from tools.gpu_checking.running import run_check


def gpu_check(*arguments, status=0):
    command = [sys.executable, str(ROOT / 'tools' / 'gpu_check.py'), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == status, done.stderr
    return done


# --- what a user types ---------------------------------------------------------------------------


def test_a_report_of_some_checks(tmp_path):
    out = tmp_path / 'report.json'
    done = gpu_check('--out', out, '--cpu', '--only', 'batch_norm', 'tf32', 'inverse')
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ['not', 'run'],
        ['ok', 'inverse'],
        ['ok', 'batch_norm'],
    ]
    assert lines[3].startswith('2 ok, 0 FAIL, 1 not run; written: ') and len(lines) == 4
    report = json.loads(out.read_text())
    assert report['complete'] and report['machine']['cores']
    assert [check['device'] for check in report['checks']] == ['cpu'] * 3
    figures = {row['what']: row for check in report['checks'] for row in check['rows']}
    figure = figures['running variance in float64']
    assert figure['value'] < figure['bar']
    text = out.with_suffix('.md').read_text()
    assert '| tf32 | not run | CPUs have no TF32 | cpu |' in text
    assert '| batch_norm | running variance in float64 |' in text
    assert str(ROOT) not in text + out.read_text()


def test_the_list_needs_no_paddle():
    program = (
        "import atexit, runpy, sys; sys.argv = ['gpu_check.py', '--list']\n"
        "atexit.register(lambda: print('paddle' in sys.modules))\n"
        "runpy.run_path('tools/gpu_check.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    *lines, imported = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in CATALOGUE]
    assert imported == 'False'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ([], '--out FILE is missing'),
        (['--out', 'x.json', '--only', 'steam'], '--only steam: is none of the checks device, '),
        (['--out', 'none/x.json'], 'none: no such folder for x.json'),
        (['--out', 'x.md'], '--out x.md: give a name that ends in .json'),
        (['--out', 'x'], '--out x: give a name that ends in .json'),
    ],
)
def test_mistakes(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = gpu_check(*arguments, status=2)
    assert said in done.stderr and done.stderr.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


def test_every_check_has_its_function():
    assert [entry.name for entry in CATALOGUE] == list(worker.FUNCTIONS)
    assert [entry.name for entry in chosen(['memory', 'device'])] == ['device', 'memory']
    with pytest.raises(UserError, match='is none of the checks'):
        chosen(['device', 'devices'])


# --- how a check can end -------------------------------------------------------------------------


def ends(tmp_path, program, seconds=60):
    """The outcome of a check whose process runs this program."""
    (tmp_path / 'check.py').write_text('import os, sys, time\n' + program)
    return run_check(Entry('one', '', seconds), True, [str(tmp_path / 'check.py')])


def test_a_crash_ends_that_check_alone(tmp_path):
    outcome = ends(tmp_path, 'print("before"); sys.stdout.flush(); os.kill(os.getpid(), 11)')
    assert (outcome.status, outcome.line) == (FAIL, 'was ended by SIGSEGV')
    assert outcome.log == 'before\n'
    outcome = ends(tmp_path, 'sys.exit(3)')
    assert (outcome.status, outcome.line) == (FAIL, 'ended with status 3 and no result')


def test_a_check_that_hangs_is_ended_with_what_it_started(tmp_path):
    child = tmp_path / 'child'
    program = f"""
import subprocess
p = subprocess.Popen(['sleep', '60'])
open({str(child)!r}, 'w').write(str(p.pid))
time.sleep(60)"""
    outcome = ends(tmp_path, program, seconds=2)
    assert (outcome.status, outcome.line) == (FAIL, 'took more than 2 s')
    wait_until(lambda: not alive(child.read_text()))


def test_a_failure_is_told_without_folders(tmp_path):
    log = f'{OF_CHECKS}/modules/x.py broke'
    row = Finding('a thing', 'nan', 1.0, False)
    result = Outcome('one', FAIL, f'in {OF_CHECKS}/y', 'cpu', rows=(row,)).as_json()
    program = f'print({log!r}); open(sys.argv[2], "w").write({json.dumps(result)!r})'
    outcome = ends(tmp_path, program)
    assert outcome.line == 'in ./y' and outcome.log == './modules/x.py broke\n'
    check = {**outcome.as_json(), 'proves': 'something'}
    report = {'date': '', 'seconds': 1.0, 'complete': False, 'checks': [check]}
    text = page({**report, 'machine': {'memory_bytes': 1e9}})
    assert '0 ok, 1 FAIL, 0 not run; stopped before the end' in text
    assert '## FAIL: one' in text and '- a thing: nan, more than 1' in text
    assert './modules/x.py broke' in text


def test_findings():
    findings = Findings()
    findings.fact('a figure', 3.0)
    findings.at_most('small', 1.0, 2.0)
    findings.holds('a sentence', True, 'not shown')
    assert outcome_of('x', findings).line == 'worst: small: 1, bar 2'
    findings.at_most('not a number', float('nan'), 2.0)
    findings.holds('another', False, 'this instead')
    outcome = outcome_of('x', findings)
    assert outcome.line == 'not a number: nan, more than 2 (and 1 more)'
    assert json.loads(json.dumps(outcome.as_json(), allow_nan=False))['rows'][3]['value'] == 'nan'


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (NotRunError('no reason'), NOT_RUN, 'no reason'),
        (UserError('a mistake'), FAIL, 'a mistake'),
        (ValueError('of a\nlibrary'), FAIL, 'ValueError: of a library'),
    ],
)
def test_exceptions_in_a_check(error, status, line, monkeypatch):
    def check(findings):
        raise error

    monkeypatch.setitem(worker.FUNCTIONS, 'device', check)
    outcome = worker.run_here('device', 'cpu')
    assert (outcome.status, outcome.line) == (status, line)
    assert bool(outcome.log) == (status == FAIL)


# --- checks of GPUs, with one that is not there --------------------------------------------------


def test_a_driver_without_its_paddle(monkeypatch):
    assert worker.run_here('device', 'cpu').status == NOT_RUN
    card = {'name': 'A card', 'driver_version': '550.54'}
    monkeypatch.setattr(machine, 'asked_driver', lambda: [card])
    outcome = worker.run_here('device', 'cpu')
    assert outcome.line == 'not so: PaddlePaddle is the GPU build (requirements.txt)'
    monkeypatch.setattr(paddle, 'is_compiled_with_cuda', lambda: True)
    monkeypatch.setattr(paddle.device.cuda, 'device_count', lambda: 0)
    outcome = worker.run_here('device', 'cpu')
    assert outcome.line == 'not so: it chose a GPU (cpu)' and outcome.status == FAIL


@pytest.fixture
def tensor_cores(monkeypatch):
    """A GPU that rounds factors to TF32 where Paddle's switches, or none, allow it."""
    core = paddle.base.core
    allowed = SimpleNamespace(cudnn=True, cublas=True)
    monkeypatch.setattr(machine, 'on_gpu', lambda: True)
    monkeypatch.setattr(core, 'get_cudnn_switch', lambda: allowed.cudnn, raising=False)
    monkeypatch.setattr(core, 'get_cublas_switch', lambda: allowed.cublas, raising=False)

    def rounded(x):
        bits = x.numpy().view('uint32') + np.uint32(1 << 12)
        return paddle.to_tensor((bits & np.uint32(0xFFFFE000)).view('float32'))

    def rounding(function, name):
        def run(x, y):
            if x.dtype == paddle.float32 and getattr(allowed, name):
                x, y = rounded(x), rounded(y)
            return function(x, y)

        return run

    monkeypatch.setattr(machine.F, 'conv2d', rounding(machine.F.conv2d, 'cudnn'))
    monkeypatch.setattr(paddle, 'matmul', rounding(paddle.matmul, 'cublas'))
    return allowed


def test_tf32(tensor_cores, monkeypatch):
    def switch_off():
        tensor_cores.cudnn = tensor_cores.cublas = False

    monkeypatch.setattr(machine.gpu, 'switch_tf32_off', switch_off)
    outcome = worker.run_here('tf32', 'gpu:0')
    assert outcome.line.startswith('a product of coordinates is off by, as it comes: 0.000')
    assert outcome.status == FAIL and outcome.line.endswith('more than 5e-06')
    tensor_cores.cudnn, tensor_cores.cublas = True, False  # as the project has it
    outcome = worker.run_here('tf32', 'gpu:0')
    assert outcome.status == OK, outcome
    figures = {row.what: row.value for row in outcome.rows}
    assert 1e-5 < figures['a convolution is off by, as it comes'] < 1e-3
    tensor_cores.cudnn = True
    monkeypatch.setattr(machine.gpu, 'switch_tf32_off', lambda: None)
    outcome = worker.run_here('tf32', 'gpu:0')
    assert outcome.line.startswith('a convolution is off by, TF32 switched off: ')


def test_the_page_names_every_check():
    page_of_places = (ROOT / 'doc' / 'gpu.md').read_text(encoding='utf-8')
    table = [line for line in page_of_places.splitlines() if line.startswith('| ')]
    missing = [e.name for e in CATALOGUE if not any(f'`{e.name}`' in line for line in table)]
    assert missing == []
