"""tools/batch.py as its users run it, and as it is killed."""

import csv
import json
import os
import signal

import numpy as np
import pytest

from tests.support import batches
from tests.support.batches import contents, kill_all, run, scratch, start, wait_for, workers
from tests.support.demo_runs import DATA, run_demo
from tests.support.processes import alive, wait_until

linux = pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks into /proc')


@pytest.fixture(scope='module')
def jobs(tmp_path_factory):
    return batches.write_jobs(tmp_path_factory.mktemp('jobs'))


@pytest.fixture(scope='module')
def whole(jobs, tmp_path_factory):
    """The folder of a batch that ran through, by one process."""
    out = tmp_path_factory.mktemp('whole')
    status, printed, complained = run(jobs, out, '--processes', 1)
    assert (status, complained) == (0, '')
    assert printed.count('frames, ') == 12
    assert printed.splitlines()[-1].startswith('12 rows: 12 done (10 with notes in the report); ')
    return out


def report_of(out):
    with open(out / 'report.csv', encoding='utf-8-sig', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(json.loads((out / 'report.json').read_text())['rows']) == len(rows)
    return rows


def test_results_are_those_of_demo(tmp_path, jobs, whole, monkeypatch):
    monkeypatch.chdir(jobs.parent)
    common = ['--config', DATA / 'tiny.yaml', '--engine', 'eager', '--source_image', 'source.png']
    common += ['--driving_video', 'clip.mp4', '--crop', 'none']
    two = ['--checkpoint', DATA, '--relative', '--result_video', tmp_path / 'two.mp4']
    eight = ['--checkpoint', DATA / 'tiny-nets-legacy.pth.tar', '--save_motion', tmp_path / 'm']
    run_demo(monkeypatch, *common, *two)
    run_demo(monkeypatch, *common, *eight, '--result_video', tmp_path / 'eight.mp4')
    made = contents(whole)
    assert made['two.mp4'] == (tmp_path / 'two.mp4').read_bytes()
    assert made['eight.mp4'] == (tmp_path / 'eight.mp4').read_bytes()
    assert made['eight.motion'] == (tmp_path / 'm').read_bytes()
    names = {name.rpartition('/')[0] or name for name in made}
    assert names == {'a', 'four', 'a/six', 'eight.motion', 'ten.png'} | {
        name for name, _ in batches.ROWS if '.' in name and '/' not in name
    }
    assert scratch(whole) == []


def test_the_report_is_in_the_order_of_the_table(whole):
    rows = report_of(whole)
    assert [row['result'] for row in rows] == [name for name, _ in batches.ROWS]
    assert [int(row['row']) for row in rows] == list(range(2, 14))
    assert {row['status'] for row in rows} == {'done'}
    assert [int(row['frames']) for row in rows] == [16, 16, 16, 16, 14, 16, 16, 16, 1, 16, 16, 8]
    assert all(float(row['seconds']) > 0 for row in rows)
    assert rows[0]['picture'] == 'source.png' and rows[0]['clip'] == 'clip.mp4'


def test_nothing_is_made_twice(jobs, whole):
    times = {path: path.stat().st_mtime_ns for path in whole.rglob('*') if path.is_file()}
    status, printed, complained = run(jobs, whole, '--processes', 2)
    assert (status, complained) == (0, '')
    assert printed.startswith('12 rows: 12 there already (10 with notes')
    for path, time in times.items():
        assert path.name.startswith('report') or path.stat().st_mtime_ns == time
    assert {row['status'] for row in report_of(whole)} == {'there'}


@linux
def test_killed_three_times(tmp_path, jobs, whole):
    """It ends with the bytes of one that ran through; and what is there is whole at any time."""
    expected = contents(whole)
    out = tmp_path / 'out'
    for count, kill in ((1, kill_all), (4, lambda process: process.kill()), (7, kill_all)):
        with start(jobs, out, '--processes', 2) as process:
            wait_for(out, count)
            children = workers(process)
            assert len(children) == 2
            kill(process)
        wait_until(lambda: not any(map(alive, children)))  # noqa: B023 (called at once)
        assert process.returncode == -signal.SIGKILL
        done = {name: data for name, data in contents(out).items() if '/.' not in f'/{name}'}
        assert done and all(expected[name] == data for name, data in done.items())
        assert 'report.csv' not in os.listdir(out)
    results = (path for path in out.rglob('*.mp4') if path.name in expected)
    before = {path: path.stat().st_mtime_ns for path in results if path.parent == out}
    kept = batches.finished(out)
    assert 7 <= kept < 12
    status, printed, complained = run(jobs, out, '--processes', 2)
    assert (status, complained) == (0, '')
    assert f'{kept} there already' in printed
    assert contents(out) == expected
    assert scratch(out) == []
    stayed = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(stayed) >= len(before) - 2  # of some the record was still to be written


@linux
@pytest.mark.parametrize(
    ('number', 'whole_group', 'status'),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGTERM, True, 143)],
)
def test_ended(tmp_path, jobs, whole, interruptible, number, whole_group, status):
    """As by Ctrl+C, which all processes get, or by a service's manager."""
    out = tmp_path / 'out'
    with start(jobs, out, '--processes', 2) as process:
        wait_for(out, 3)  # of which two may be told of later
        children = workers(process)
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        printed, complained = process.communicate()
    assert process.returncode == status
    assert complained == ('interrupted\n' if number == signal.SIGINT else '')
    assert not any(map(alive, children))
    assert scratch(out) == []
    expected = contents(whole)
    assert all(expected[name] == data for name, data in contents(out).items())
    rows = report_of(out)
    states = [row['status'] for row in rows]
    assert set(states) == {'done', 'not run'}
    assert f'{states.count("done")} done, {states.count("not run")} not run' in printed
    if whole_group:
        return
    assert run(jobs, out, '--processes', 2)[0] == 0
    assert contents(out) == expected


@linux
def test_a_process_that_dies_takes_one_row_with_it(tmp_path, jobs, whole):
    out = tmp_path / 'out'
    with start(jobs, out) as process:
        wait_for(out, 2)
        (child,) = workers(process)
        os.kill(child, signal.SIGKILL)
        printed, complained = process.communicate()
    assert process.returncode == 1
    assert '11 done, 1 failed' in printed
    assert 'FAILED: its process ended by SIGKILL' in complained
    assert scratch(out) == []
    status, printed, _ = run(jobs, out)
    assert status == 0 and '1 done, 11 there already' in printed
    assert contents(out) == contents(whole)


def test_a_bad_row_stops_no_other(tmp_path):
    rows = [
        ('a.mp4', {'size': '12'}),
        ('b.mp4', {}),
        ('c.txt', {}),
        ('d.mp4', {'motion_scale': '2'}),
        ('e.mp4', {'adapt_scale': 'yes'}),
        ('f/g.mp4', {'relative': 'maybe'}),
    ]
    jobs = batches.write_jobs(tmp_path, rows, num_frames=3)
    with open(jobs, 'a', encoding='utf-8') as file:
        file.write('none.png,clip.mp4,h.mp4\n,clip.mp4,i.mp4\nsource.png,,j.mp4\n')
    status, printed, complained = run(jobs, tmp_path / 'out')
    assert status == 1
    assert '9 rows: 2 done, 7 failed (2 with notes in the report)' in printed
    messages = {row['result']: row['message'] for row in report_of(tmp_path / 'out')}
    assert messages['a.mp4'].startswith('--size: 12: give width and height')
    assert 'are not written' in messages['c.txt']
    assert messages['d.mp4'].startswith('--motion_scale 2')
    assert 'change nothing without --relative' in messages['e.mp4']  # which is no failure
    assert messages['f/g.mp4'] == '--relative: maybe: give yes or no'
    assert 'no such' in messages['h.mp4']
    assert messages['i.mp4'] == 'it has no picture' and messages['j.mp4'] == 'it has no clip'
    assert [row['status'] for row in report_of(tmp_path / 'out')].count('done') == 2
    assert complained.count('FAILED') == 7 and 'Traceback' not in complained
    assert sorted(contents(tmp_path / 'out')) == ['b.mp4', 'e.mp4']


@pytest.mark.parametrize(
    ('rows', 'arguments', 'words'),
    [
        ([('a.mp4', {}), ('a.mp4', {})], [], 'row 3: a.mp4: would be written by row 2, too'),
        ([('../clip.mp4', {})], [], 'outside'),
        ([('a.mp4', {})], ['--processes', '0'], 'at least 1'),
        ([('a.mp4', {})], ['--device', 'tpu'], 'give auto, cpu, gpu'),
    ],
)
def test_a_mistake_is_told_before_anything_is_done(tmp_path, rows, arguments, words):
    jobs = batches.write_jobs(tmp_path, rows, num_frames=1)
    status, printed, complained = run(jobs, tmp_path / 'out', *arguments)
    assert status == 2 and printed == ''
    assert complained.startswith('error: ') and words in complained and complained.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@linux
def test_two_batches_in_one_folder(tmp_path, jobs):
    out = tmp_path / 'out'
    with start(jobs, out) as process:
        wait_for(out, 1)
        status, _, complained = run(jobs, out)
        assert status == 2 and 'another run is writing there' in complained
        assert '--out' in complained
        process.send_signal(signal.SIGTERM)


def test_frames_are_those_of_any_number_of_processes(jobs, tmp_path, monkeypatch):
    """The bundled networks, compiled by one of them: rows that differ in the process alone."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    rows = ['picture,clip,result,frames,crop']
    rows += [f'source.png,clip.mp4,{name}.png,1,none' for name in 'abcd']
    table = jobs.parent / 'same.csv'
    table.write_text('\n'.join(rows))
    for processes, compiled in ((3, 1), (1, 0)):
        status, _, complained = run(table, tmp_path / str(processes), '--processes', processes)
        assert status == 0
        assert complained.count('compiling for frames of 128x128') == compiled
    one, three = contents(tmp_path / '1'), contents(tmp_path / '3')
    assert one == three and len(set(one.values())) == 1 and len(one) == 4
    assert np.unique(list(one['a.png'])).size > 100
