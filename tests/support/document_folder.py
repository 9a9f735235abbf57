"""A folder in which the documents' commands run: the project, small, and what readers have."""

import contextlib
import copy
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from modules.checkpoints.writing import save_pdparams
from modules.config import load_config
from modules.parity.record import seeded_models
from modules.video import write_picture
from tests.support.clips import write
from tests.support.discs import scene
from tests.support.documents import blocks, text_of
from tests.support.places import ROOT
from tests.support.training_runs import write_clips

PARTS = 'modules', 'tools', 'config', 'doc'
FAKES = ROOT / 'tests' / 'support' / 'fake_faces'  # a face is a disc
SIZE = 64  # of the frames of published configs
HOURGLASS = {'block_expansion': 4, 'max_features': 16, 'num_blocks': 2, 'scale_factor': 0.5}


def smaller(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it is shipped, with small numbers in it: an epoch takes a second or two."""
    small = copy.deepcopy(dict(config))
    data, model, train = (small[f'{part}_params'] for part in ('dataset', 'model', 'train'))
    if data['frame_shape'][0] >= 256:
        data['frame_shape'] = [SIZE, SIZE, 3]
        crop = data['augmentation_params'].get('crop_param', {})
        crop.update({'size': [SIZE, SIZE]} if crop else {})
    model['kp_detector_params'].update(HOURGLASS)
    generator = model['generator_params']
    generator.update(block_expansion=4, max_features=16, num_bottleneck_blocks=1)
    generator['dense_motion_params'].update(HOURGLASS)
    model['discriminator_params'].update(block_expansion=4, max_features=16, num_blocks=2)
    weights = train['loss_weights']
    weights['feature_matching'] = weights['feature_matching'][:2]
    train.update(scales=[1, 0.5], vgg19_weights='random')
    train.update(num_epochs=1, num_repeats=1, batch_size=2, epoch_milestones=[1], checkpoint_freq=1)
    small['animate_params']['num_pairs'] = 2
    return small


def copy_project(folder: Path) -> None:
    """The project, with small numbers in the configs that are not the bundled networks'."""
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name)
    for path in (*ROOT.glob('*.py'), *ROOT.glob('requirements*'), ROOT / 'README.md'):
        shutil.copy2(path, folder)
    for path in (ROOT / 'tests/support/__init__.py', ROOT / 'tests/support/discs.py'):  # of FAKES
        (folder / 'tests' / 'support').mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, folder / 'tests' / 'support')
    for path in folder.glob('config/*.yaml'):
        if not path.name.startswith('demo-'):
            config = yaml.safe_load(path.read_text(encoding='utf-8'))
            path.write_text(yaml.safe_dump(smaller(config)), encoding='utf-8')


def talk(count: int) -> list[np.ndarray]:
    """Frames of a face that looks about."""
    return [scene([('red', 70 + i % 9, 48, 20)], 96, 144) for i in range(count)]


def somebody(path: Path, left: int = 281) -> None:
    """A picture with one face, which animate.md crops by hand."""
    write_picture(path, scene([('red', left, 164, 80)], 300, 400))


def phone_clip(path: Path, seed: int) -> None:
    """Something that moves in front of what does not, for 40 frames."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 120, (12, 16, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    thing = rng.integers(130, 250, (6, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    frames = []
    for i in range(40):
        frame, left = ground.copy(), 20 + (i if i < 20 else 40 - i)
        frame[30:78, left : left + 48] = thing
        frames.append(frame)
    path.parent.mkdir(exist_ok=True)
    write(path, frames, 25)


def write_table(folder: Path, document: str) -> None:
    """The table of jobs that the document shows, with the pictures and clips in it."""
    for block in blocks(document):
        if block.language == 'csv':
            (folder / 'jobs.csv').write_text(block.text, encoding='utf-8')
            for name in {name for line in block.text.splitlines()[1:] for name in line.split(',')}:
                if '/' in name and not (folder / name).exists():
                    (folder / name).parent.mkdir(exist_ok=True)
                    if name.endswith('.jpg'):
                        somebody(folder / name)
                    else:
                        write(folder / name, talk(6), 25)


def furnish(folder: Path, document: str, vox: Mapping[str, Any]) -> None:
    """What readers of a document have in the folder, under the names that it uses."""
    for name in ('me.jpg', 'me.png', 'you.png'):
        somebody(folder / name, 281 if 'me' in name else 150)
    write_picture(
        folder / 'family.jpg', scene([('red', 60, 60, 24), ('blue', 180, 70, 26)], 160, 260)
    )
    write(folder / 'clip.mp4', talk(8), 25)
    write(folder / 'talk.mp4', talk(20), 25)
    (folder / 'first-order-model-paddle').symlink_to(folder)  # a clone's usual name
    (folder / 'CLIPS').mkdir()
    for number in range(3):
        phone_clip(folder / 'CLIPS' / f'{number}.mp4', number)
    write_clips(folder / 'data' / 'vox-png', clips=2, size=SIZE)
    write_clips(folder / 'data' / 'own', clips=2, size=SIZE)
    (folder / 'data' / 'vox256.csv').write_text('source,driving\n00,01\n01,00\n')
    (folder / 'served').mkdir()
    save_pdparams(folder / 'served' / 'vox-cpk.pdparams', vox)
    write_table(folder, document)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder can be downloaded."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class DocumentFolder:
    """The folder of one document; `run` runs a command in it, `python` a file with blocks."""

    def __init__(self, folder: Path, document: str):
        self.path = folder / 'first-order-model'
        self.path.mkdir()
        copy_project(self.path)
        config = load_config(self.path / 'config' / 'vox-256.yaml')
        models = seeded_models(config, 1, 'float32')
        furnish(self.path, document, models._asdict())
        # Of all documents, so that what they compile is compiled once; tests of other things don't
        # find the weights in it that stand in for published ones.
        cache = Path(os.environ['XDG_CACHE_HOME']) / 'documents'
        self.environment = {
            **os.environ,
            'PYTHONPATH': str(FAKES),
            'XDG_CACHE_HOME': str(cache),
        }
        if 'vox-cpk.pth.tar' in text_of(document):  # the official file of these weights
            converter = ['python', 'tools/convert_torch.py', 'served/vox-cpk.pdparams']
            self.run([*converter, '--to', 'torch', '--out', '.'])

    def run(self, words: list[str]) -> str:
        """What a command prints.

        Raises:
            AssertionError: it fails.
        """
        program = sys.executable if words[0] == 'python' else words[0]
        with serving(self.path / 'served') as address:
            done = subprocess.run(
                [program, *words[1:]],
                cwd=self.path,
                env={**self.environment, 'FOMM_WEIGHTS_URL': address},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=400,
            )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout
