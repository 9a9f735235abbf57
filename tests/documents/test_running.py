"""Every command of the documents, and each of their blocks of Python, is run, in order.

A document has a folder of its own, in which names such as me.jpg stand for small real things, and
published configs and weights for small ones (tests/support/document_folder.py); a command finds
what the ones before it have left. What is not run has its reason, in NOT_RUN or in the document;
its options and files are looked up by test_naming.py.
"""

import importlib.util
import os
import re
import shlex

import pytest
import yaml

from modules.config import check_config
from tests.support.document_folder import DocumentFolder, smaller
from tests.support.documents import (
    DOCUMENTS,
    SHELL,
    Block,
    Command,
    all_commands,
    blocks,
    commands,
    text_of,
)
from tests.support.places import ROOT
from tests.support.python_document import check_python_document

# Commands that are not run, and why.
NOT_RUN = {
    r'make \w': 'installs packages from the network; CI is `make test-all`',
    r'python -m pip install ': 'from the network',
    r'python -m venv ': 'packages are installed into it, from the network',
    r'source ': 'as above',
    r'ssh ': 'to another machine',
    r'python -m tests\.': 'takes hours; a short form is one of the tests itself',
    r'python tools/try_versions.py ': 'packages are installed, from the network',
    r'PAGE_TABLE=\S+ python -m pytest tests/': 'one of the tests itself',
}
# What makes commands quick: their text, or the end of it, and what is put in its place.
SMALLER = {
    r'prepare_dataset.py CLIPS .*': r'\g<0> --size 64 --min_size 30 --min_frames 10 --crop object',
    r'prepare_dataset.py (drawn/phone .*) --size 128': (
        r'prepare_dataset.py \1 --size 64 --min_size 30 --min_frames 10 --crop object'
    ),
    r'train.py --data data/mine --save_dir run$': r'\g<0> --steps 2',
    r'--start 12 --end 20.5': '--start 0.04 --end 0.2',
    r'--start 90f --frames 40': '--start 4f --frames 3',
    r'--steps 200': '--steps 2',
    r'--phone 12 --size 240 --frames 90': '--phone 12 --size 96 --frames 32',
    r'crop_video.py talk.mp4 --out data/faces': r'\g<0> --size 32 --min_frames 8',
    r'motion_transfer.py --frames 16': r'motion_transfer.py --frames 3 --cases 1',
    r'--processes 4': '--processes 2',
    r'gpu_check.py --out gpu.json': r'\g<0> --cpu --only no_gpu inverse',
    r'demo.py .* things/.*': r'\g<0> --frames 4',
    r'benchmark.py --only live .*': r'\g<0> --seconds 1 --repeats 1 --engine onednn',
    r'--processes 1 2 4': '--processes 1 2 --steps 1 --repeats 1',
}
CONFIGS = sorted(
    path.name for path in (ROOT / 'config').iterdir() if not path.name.startswith('demo-')
)
EXPORT = importlib.util.find_spec('onnxruntime') and importlib.util.find_spec('onnx')
# Documents that take longer than half a minute.
LONG = (
    *('README.md', 'doc/animate.md', 'doc/gallery.md', 'doc/own-data.md', 'doc/python.md'),
    'doc/train.md',
)
# What is there after the commands of a document, beside what it says that they print.
MADE = {
    'README.md': ('result.mp4', 'run/config.yaml', 'run/log.txt', 'data/mine/contact-sheet.png'),
    'doc/animate.md': ('me.gif', 'crop.png', 'wave.safetensors', 'vox/G.npz', 'back/vox.pth.tar'),
    'doc/batch.md': ('results/ann.mp4', 'results/ben.gif', 'results/ben-nod.mp4'),
    'doc/export.md': ('exported/export.json', 'exported-vox/frame.onnx', 'result.mp4')
    if EXPORT
    else (),
    'doc/evaluate.md': ('results/run.json', 'figures/summary.json', 'figures/videos.csv'),
    'doc/gallery.md': ('things/trot.png', 'trot.mp4', 'astronaut.mp4'),
    'doc/method.md': ('doc/method/keypoints.jpg',),
    'doc/own-data.md': ('data/mine/contact-sheet.png', 'run/config.yaml', 'first.mp4'),
    'doc/python.md': ('result.mp4', 'wave.safetensors', 'me.png.mp4', 'you.png.mp4'),
    'doc/train.md': ('run/log.txt', 'run/train-vis', 'run/animation', 'figures/summary.md'),
}


def why_not(block: Block, command: Command) -> str:
    """Why a command is not run; '' if it is."""
    if 'needs' in block.marks:
        return block.marks['needs']
    if '--torch_repo' in command.words:
        return 'PyTorch'
    if {'tools/export.py', 'exported/example.py'} & {*command.words} and not EXPORT:
        return 'packages that are not installed'
    return next((why for start, why in NOT_RUN.items() if re.match(start, command.text)), '')


def run_command(folder: DocumentFolder, text: str) -> str:
    for found, put in SMALLER.items():
        text = re.sub(found, put, text)
    return folder.run(shlex.split(text))


def run_python(folder: DocumentFolder, block: Block) -> str:
    """By a Python of its own, with lines numbered as in the document."""
    path = folder.path / 'block.py'
    path.write_text('\n' * (block.line - 1) + block.text, encoding='utf-8')
    return folder.run(['python', path.name])


def run_shell(folder: DocumentFolder, block: Block) -> str:
    printed = ''
    for command in commands(block):
        if why_not(block, command):
            continue
        before = sum(os.times()[2:4])
        try:
            printed += run_command(folder, command.text)
        except AssertionError as error:
            raise AssertionError(f'{command.place}, {command.text}: {error}') from error
        print(f'{sum(os.times()[2:4]) - before:5.1f} s  {command.place} {command.text}')
    return printed


def run_block(folder: DocumentFolder, block: Block) -> str:
    """-> what it prints."""
    if block.language == 'python':
        return run_python(folder, block) if 'exported/' not in block.text or EXPORT else ''
    if 'printed by' in block.marks and 'needs' not in block.marks:
        said = run_command(folder, block.marks['printed by'])
        assert block.text in said, f'{block.place} shows something else than {said}'
        return said
    return run_shell(folder, block) if block.language in SHELL else ''


def to_run(document: str) -> bool:
    return any(
        block.language == 'python' or 'printed by' in block.marks for block in blocks(document)
    ) or any(not why_not(*pair) for pair in all_commands(document))


@pytest.mark.parametrize(
    'document',
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])
        for name in filter(to_run, DOCUMENTS)
    ],
)
def test_all_that_it_has(document, tmp_path):
    folder = DocumentFolder(tmp_path, document)
    printed = ''.join(run_block(folder, block) for block in blocks(document))
    for claimed in re.findall(r'You should see `([^`]+)`', text_of(document)):
        assert claimed in printed
    for name in MADE.get(document, ()):
        assert (folder.path / name).exists(), name
    if document == 'doc/python.md':
        check_python_document(folder, printed)


@pytest.mark.parametrize(
    ('language', 'text', 'marks', 'said'),
    [
        (
            '',
            'cp jobs.csv a.csv\npython demo.py --size one\n',
            {},
            r'doc/some\.md:8, .*--size: one',
        ),
        ('python', 'import modules.nothing\n', {}, 'line 7, in <module>'),
        (
            'text',
            'no such line\n',
            {'printed by': 'python demo.py -h'},
            r'doc/some\.md:7 shows something',
        ),
    ],
)
def test_what_is_wrong_is_named(language, text, marks, said, tmp_path):
    folder = DocumentFolder(tmp_path, 'doc/batch.md')
    with pytest.raises(AssertionError, match=said):
        run_block(folder, Block('doc/some.md', 7, language, text, '', marks))


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_with_small_numbers_has_the_keys_that_it_had(name):
    config = yaml.safe_load((ROOT / 'config' / name).read_text(encoding='utf-8'))
    small = check_config(smaller(config), name, need=('train_params', 'dataset_params'))
    assert list(small) == list(check_config(config, name, need=('train_params', 'dataset_params')))
    assert small['dataset_params']['frame_shape'][0] <= 128


def test_most_commands_run():
    reasons = [why_not(*pair) for document in DOCUMENTS for pair in all_commands(document)]
    assert reasons.count('') > 40, reasons
    assert sum(b.language == 'python' for name in DOCUMENTS for b in blocks(name)) > 7
    assert all(name in DOCUMENTS for name in (*LONG, *MADE))


def test_what_makes_commands_quick_is_met():
    texts = [command.text for name in DOCUMENTS for _, command in all_commands(name)]
    for found in SMALLER:
        assert any(re.search(found, text) for text in texts), found
    for start in NOT_RUN:
        assert any(re.match(start, text) for text in texts), start
