"""The processes that the benchmark measures."""

import subprocess
import sys

import pytest

from modules.runtime.errors import UserError
from tests.support.places import ROOT
from tools.benchmarking import runs as benchmark_runs
from tools.benchmarking.common import timed
from tools.benchmarking.runs import Contender, run


def script(tmp_path, text):
    path = tmp_path / 'program.py'
    path.write_text(text)
    return [sys.executable, str(path)]


def test_contenders_take_turns(monkeypatch, tmp_path):
    turns = []
    monkeypatch.setattr(benchmark_runs, 'run', lambda c, *rest: turns.append(c.name) or c.name)
    pair = [Contender('a', [], {}), Contender('b', [], {})]
    runs = benchmark_runs.run_in_turns(pair, 3, tmp_path, (4, 4), 'title')
    assert turns == ['a', 'b'] * 3 and runs == {'a': ['a'] * 3, 'b': ['b'] * 3}


def test_what_may_fail_is_left_out_with_a_line(tmp_path, capsys):
    broken = script(tmp_path, "raise SystemExit('what went wrong')")
    lacking = {}
    runs = benchmark_runs.run_in_turns(
        [Contender('peer', broken, {}, may_fail=True)], 3, tmp_path, (2, 3), 'title', lacking
    )
    assert runs == {} and lacking == {'peer': 'not measured: it failed, see what it printed'}
    assert capsys.readouterr().err.count('what went wrong') == 1  # it is not tried again
    with pytest.raises(UserError, match='ours: ended with status 1'):
        benchmark_runs.run_in_turns(
            [Contender('ours', broken, {})], 3, tmp_path, (2, 3), 'title', lacking
        )


def test_a_run_returns_what_the_process_wrote(tmp_path):
    program = script(
        tmp_path,
        f"""import sys
sys.path.insert(0, {str(ROOT)!r})
from tools.benchmarking.common import *
job, path = read_job()
write_frames(path, [np.full((2, 3, 3), job['level'])] * 2)
print('chatter')
write_result(path, seconds=[1, 2], version='v')
""",
    )
    for level in (0.25, 0.75):  # nothing of one run is left to the next
        found = run(Contender('a', program, {'level': level}), tmp_path, (2, 3))
        assert found.seconds == [1, 2] and found.version == 'v' and found.losses == []
        assert found.frames.shape == (2, 2, 3, 3) and (found.frames == level).all()
        assert 5e6 < found.peak_bytes < 1e9


def test_a_process_that_fails_is_shown_and_named(tmp_path, capsys):
    program = script(tmp_path, "raise SystemExit('what went wrong')")
    with pytest.raises(UserError, match='slowpoke: ended with status 1'):
        run(Contender('slowpoke', program, {}), tmp_path, (2, 3))
    assert 'what went wrong' in capsys.readouterr().err


def test_the_networks_are_measured_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
    program = script(
        tmp_path, "import os; raise SystemExit(os.environ['CUDA_VISIBLE_DEVICES'] != '')"
    )
    with pytest.raises(FileNotFoundError):  # it ended well, but wrote nothing
        run(Contender('a', program, {}), tmp_path, (2, 3))


def test_peak_memory_keeps_the_peak(tmp_path):
    program = script(
        tmp_path,
        f"""import sys
sys.path.insert(0, {str(ROOT)!r})
from tools.benchmarking.common import *
before = peak_memory()
values = np.ones(25_000_000)
del values
write_result(Path(sys.argv[1]), seconds=[], version='v', losses=[before])
""",
    )
    found = run(Contender('a', program, {}), tmp_path, (2, 3))
    assert 195e6 < found.peak_bytes - found.losses[0] < 300e6


def test_timed_measures_each_item(monkeypatch):
    clock = iter([0, 1, 10, 13, 20])
    monkeypatch.setattr('tools.benchmarking.common.time.perf_counter', lambda: next(clock))
    assert list(timed('ab')) == [(1, 'a'), (3, 'b')]


def test_what_stands_for_a_missing_package_is_gone_after_the_import(tmp_path):
    """torch.compile looks into packages of sys.modules, and stumbles over empty shells."""
    (tmp_path / 'demo.py').write_text('import ffmpeg\n')
    code = (
        'import sys; from tools.official import benchmark; sys.path[0] = sys.argv[1]; '
        'demo = benchmark._import_demo(); print(demo.ffmpeg.probe, "ffmpeg" in sys.modules)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith('<MagicMock') and done.stdout.endswith('False\n')
