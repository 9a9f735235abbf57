"""Cases that go through the commands themselves, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.fuzz.cases import Reader, Seed, Wrong
from tests.fuzz.corpus import checkpoints, clips, pictures, texts
from tests.fuzz.mutating import boxes, pickles, tensors, zips
from tests.fuzz.mutating.texts import mutate_table, mutate_yaml
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import LEGACY, TINY

_MEMORY = 3 * 2**30  # bytes: 2 GiB beside what Paddle and the networks take
_SECONDS = 60  # of the processors, with the start of the process and of Paddle
_TOLD = re.compile(r'(error|note|warning): |\d+ clips? ')
_CHOSEN = {
    'checkpoint': ('own', 'safetensors', 'pdparams-4', 'npz', 'torch', 'legacy'),
    'picture': (
        'PNG-RGBA',
        'JPEG-told',
        'WEBP-RGB',
        'AVIF-RGB',
        'TIFF-RGB',
        'GIF-moving',
        'PNG-moving',
    ),
    'clip': ('mp4-fast', 'mkv', 'webm-vp8', 'avi', 'gif', 'ts', 'flv', 'hevc'),
    'data': ('mp4', 'webm-vp9', 'avi-mjpeg', 'PNG-moving', 'mov'),
}


def _seeds() -> dict[str, Seed]:
    kinds = {
        'config': texts.configs(), 'training': texts.configs(),
        'checkpoint': checkpoints.checkpoints(),
        'picture': pictures.pictures(), 'clip': clips.clips(), 'data': clips.clips(),
        'motion': checkpoints.motions(), 'jobs': texts.jobs(),
    }  # fmt: skip
    return {
        f'{kind}-{name}': Seed({f'{kind}/{key}': data for key, data in seed.files.items()})
        for kind, seeds in kinds.items()
        for name, seed in seeds.items()
        if seed.is_sound and name in _CHOSEN.get(kind, (name,))
    }


def _text(rng: Random, data: bytes) -> bytes:
    text = data.decode()
    return (mutate_yaml if ': ' in text else mutate_table)(rng, data)


def command(path: Path) -> list[str | Path]:
    """What a user types who has this file: its folder tells what it is taken for."""
    kind, out = path.parent.name, path.parents[1] / 'out'
    given: dict[str, str | Path] = {
        'config': TINY / 'tiny.yaml', 'checkpoint': LEGACY, 'source_image': TINY / 'source.png',
        'driving_video': ROOT / 'doc' / 'demo' / 'driving.mp4', 'result_video': out / 'result.mp4',
        'frames': '2', 'engine': 'eager',
    }  # fmt: skip
    if kind == 'data':
        return ['tools/check_dataset.py', path.parent]
    if kind == 'training':
        return ['train.py', '--config', path, '--dry_run', '--cpu']
    if kind == 'jobs':
        return ['tools/batch.py', path, '--out', out, '--dry_run']
    names = {'picture': 'source_image', 'clip': 'driving_video'}
    given[names.get(kind, kind)] = path
    if kind == 'motion':
        del given['driving_video']
    return [
        'demo.py',
        '--cpu',
        *(part for key, value in given.items() for part in (f'--{key}', value)),
    ]


def run_door(path: Path, rng: Random) -> bool:
    """Raises Wrong unless the command succeeds, or ends with status 2 and a line."""
    (path.parents[1] / 'out').mkdir()
    script, *arguments = map(str, command(path))
    home = path.parents[1] / 'home'
    home.mkdir()
    environment = {**os.environ, 'HOME': str(home), 'XDG_CACHE_HOME': str(home / 'cache')}
    with open(path.parents[1] / 'told', 'w+', encoding='utf-8', errors='replace') as told:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / script), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told, env=environment,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        lines = told.read().splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    odd = [line for line in lines if not _TOLD.match(line)]
    what = f'{script} {path.parent.name}: status {process.returncode}'
    if process.returncode not in (0, 2) or len(errors) != (process.returncode == 2) or odd:
        raise Wrong(f'{what}, {len(errors)} lines of errors, others {odd[-2:]}')
    seconds = usage.ru_utime + usage.ru_stime
    if seconds > _SECONDS:
        raise Wrong(f'{what} after {seconds:.0f} s')
    if usage.ru_maxrss * 1024 > _MEMORY:
        raise Wrong(f'{what}, {usage.ru_maxrss / 2**20:.1f} GiB')
    return process.returncode == 0


DOORS = Reader(
    'doors', 'commands, as processes', _seeds,
    (boxes.mutate, tensors.mutate, zips.mutate, pickles.mutate, _text),
    run_door, 0.05, seconds=_SECONDS // 2, is_process=True,
)  # fmt: skip
