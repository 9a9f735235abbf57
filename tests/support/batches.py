"""Batches that tests run and kill."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.demo_runs import DATA, write_clip
from tests.support.places import ROOT
from tests.support.processes import PATIENCE, wait_until

# Twelve rows of three engines and all kinds of results, none of which takes long.
ROWS = (
    ('one.mp4', {}),
    ('two.mp4', {'relative': 'yes'}),
    ('three.gif', {'batch': '2'}),
    ('four', {}),
    ('a/five.mp4', {'loop': 'YES', 'speed': '2'}),
    ('a/six', {'batch': '2', 'relative': 'Yes'}),
    ('seven.mkv', {'side_by_side': 'yes', 'relative': 'no'}),
    ('eight.mp4', {'checkpoint': 'legacy', 'save_motion': 'eight.motion'}),
    ('nine.png', {'frames': '1'}),
    ('ten.mp4', {'size': '96,96', 'show_crop': 'ten.png', 'source_crop': '4,4,50,50'}),
    ('eleven.mov', {'checkpoint': 'legacy', 'find_best_frame': 'yes', 'relative': 'yes'}),
    ('twelve.mp4', {'start': '8f', 'smooth': 'yes'}),
)


def write_jobs(folder: Path, rows=ROWS, num_frames=16) -> Path:
    """A table of these rows, and what they read."""
    write_clip(folder / 'clip.mp4', num_frames)
    (folder / 'source.png').write_bytes((DATA / 'source.png').read_bytes())
    weights = {None: DATA, 'legacy': DATA / 'tiny-nets-legacy.pth.tar'}
    options = sorted({name for _, given in rows for name in given} - {'checkpoint'})
    with open(folder / 'jobs.csv', 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        names = ('picture', 'clip', 'result', 'config', 'checkpoint', 'engine', 'crop')
        writer.writerow([*names, *options])
        for result, given in rows:
            crop = '' if 'source_crop' in given else 'none'
            common = (DATA / 'tiny.yaml', weights[given.get('checkpoint')], 'eager', crop)
            values = [given.get(name, '') for name in options]
            writer.writerow(['source.png', 'clip.mp4', result, *common, *values])
    return folder / 'jobs.csv'


def start(jobs: Path, out: Path, *arguments) -> subprocess.Popen:
    """The command, in a process group of its own."""
    command = [sys.executable, ROOT / 'tools' / 'batch.py', jobs, '--out', out, '--device', 'cpu']
    return subprocess.Popen(
        [*map(str, command), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(jobs: Path, out: Path, *arguments) -> tuple[int, str, str]:
    """Exit status, what it printed, and what it complained about."""
    with start(jobs, out, *arguments) as process:
        printed, complained = process.communicate()
    return process.returncode, printed, complained


def contents(out: Path) -> dict[str, bytes]:
    """All results, by their names in the folder; without the report and the batch's own."""
    found = [Path(top, name) for top, _, files in os.walk(out) for name in files]
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in found}
    mine = ('report.', '.batch/', '.lock')
    return {name: data for name, data in files.items() if not name.startswith(mine)}


def scratch(out: Path) -> list[Path]:
    """What is under way, or was left."""
    names = (Path(top, name) for top, folders, files in os.walk(out) for name in folders + files)
    return [p for p in names if p.name.startswith('.') and p.name not in ('.batch', '.lock')]


def finished(out: Path) -> int:
    """How many rows have a record that says so."""
    count = 0
    for path in (out / '.batch').glob('*.json'):
        try:
            count += 'contents' in json.loads(path.read_text())
        except (OSError, ValueError):
            continue
    return count


def wait_for(out: Path, rows: int) -> None:
    """Until so many rows are done and another one is at work."""

    def at_work():
        mine = (out / '.batch').resolve()
        busy = [path for path in scratch(out) if mine not in path.parents]
        return finished(out) >= rows and busy

    wait_until(at_work, 10 * PATIENCE)  # Paddle is loaded, and rows are animated


def workers(process: subprocess.Popen) -> list[int]:
    """The processes that compute; they name Python's multiprocessing in their command line."""
    found = []
    for entry in Path('/proc').iterdir():
        try:
            parent = int((entry / 'stat').read_text().rsplit(')', 1)[1].split()[1])
            command = (entry / 'cmdline').read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == process.pid and b'spawn_main' in command:
            found.append(int(entry.name))
    return sorted(found)


def kill_all(process: subprocess.Popen) -> None:
    """The command and all that it has started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
