"""Files made to harm: every one is refused in one line, executes nothing and stays small in memory.

A worker process reads them all under a limit on its address space, in a folder where any of the
payloads would leave a file called `executed`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules.checkpoints.reading import read_checkpoint
from modules.runtime.errors import UserError
from tests.support.crafted import pdparams
from tests.support.hostile import hostile_files
from tests.support.hostile_pickles import EXECUTING
from tests.support.places import ROOT

MEGABYTES = 500  # over what the process takes before it reads the first file
SECONDS = 5

WORKER = """
import json, resource, sys, time
import numpy, safetensors, safetensors.numpy
from modules.checkpoints.reading import read_checkpoint
from modules.runtime.errors import UserError

with open('/proc/self/status') as status:
    size = next(int(line.split()[1]) for line in status if line.startswith('VmSize')) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]) * 2**20,) * 2)
before = set(sys.modules)
for name in json.load(sys.stdin):
    start = time.process_time()
    try:
        read_checkpoint(name)
        error, message = None, ''
    except Exception as caught:
        error, message = type(caught).__name__, str(caught)
    seconds = time.process_time() - start  # not those of others on a busy machine
    print(json.dumps([name, error, message, seconds]), flush=True)
print(json.dumps(sorted(set(sys.modules) - before)))
"""

REASONS = {  # why the guard that is meant, and no other, refuses the files whose name ends so
    'many-marks': 'over 500000 opcodes',
    'many-lists': 'over 500000 opcodes',
    'copied-dict': 'far more memory',
    'long-global': 'a global called',
    'zip-call-of-20': 'a call with 20 arguments',
    'legacy-many-opcodes': 'over 500000 opcodes',
    'safetensors-17-axes': 'too many axes',
    'safetensors-axis-2**31': 'too many axes',
    'safetensors-unsigned': 'save its weights as float32',
    'arguments-no-tuple': 'calls what is no function',
    'call-text': 'calls what is no function',
    'odd-items': 'sets items of what is no dict',
    'build-list': 'sets the state of what is no array',
    'pdparams-object-array': 'an array of Python objects',
    'object-array-of-bytes': 'an array of Python objects',
    'pdparams-records': 'an array of records',
    'dtype-subarray': 'an array of records',
    'shape-2**60': 'an empty or impossible axis',
    'pdparams-shape-overflow': 'an empty or impossible axis',
    'shape-too-short': 'without the 12 bytes for it',
    'bytes-as-text': 'without the 16 bytes for it',
    'bytes-as-list': 'without the 16 bytes for it',
    'scalar-short': 'a damaged number',
    'tuple-of-list': 'makes a tuple of something else',
    'dtype-laughs': 'an array of dtype a tuple',
    'encode-bomb': 'far more memory',
    'pdparams-shared-array-bomb': 'far more memory',
    'shared-storage-bomb': 'far more memory',
    'offset-beyond': 'beyond its storage',
    'stride-0': 'beyond its storage',
    'stride-overlapping': 'beyond its storage',
    'storage-negative': 'a damaged storage',
    'storage-type-text': 'a damaged storage',
    'storage-laughs': 'a damaged storage',
    'storage-path': 'a storage called',
    'storage-key-long': 'a storage called',
    'two-sizes': 'has two sizes',
    'zip-tensor-of-text': 'a damaged tensor',
    'zip-parameter-of-text': 'a damaged parameter',
    'torch-legacy-storage-absent': 'damaged where its storages start',
    'cut-at-length': 'damaged where its storages start',
    'zip-duplicate-member': 'two members of the same name',
    'zip-bomb': 'far beyond the size of the file',
    'zip-bomb-pickle': 'far beyond the size of the file',
    'npz-bomb': 'far beyond the size of the file',
    'npz-unnamed': 'its arrays have no names',
    'npz-boxed-list': 'the object pickled in it is no dict',
    'npz-boxed-tuple-axis': 'its arrays have no names',
    'safetensors-list-sum': 'its metadata is damaged',
    'safetensors-other-sum': "first.conv.bias' is damaged",
    'safetensors-no-sum': "first.conv.bias' is damaged",
}

FILES = dict(hostile_files())
NAMES = list(FILES)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """What became of each file: {name: (error, message, seconds)}, the folder and new modules."""
    if not Path('/proc/self/status').exists():
        pytest.skip('limits the memory as Linux can')
    folder = tmp_path_factory.mktemp('hostile')
    (folder / 'hostile_module.py').write_text("open('executed', 'w').close()")
    for number, data in enumerate(FILES.values()):
        (folder / str(number)).write_bytes(data)
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}'}
    worker = subprocess.run(
        [sys.executable, '-c', WORKER, str(MEGABYTES)],
        input=json.dumps([str(number) for number in range(len(NAMES))]),
        capture_output=True, text=True, cwd=folder, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert worker.returncode == 0, worker.stderr
    *lines, modules = map(json.loads, worker.stdout.splitlines())
    return {NAMES[int(number)]: rest for number, *rest in lines}, folder, modules


def test_names_are_distinct():
    assert len(NAMES) == len(list(hostile_files())) > 300


@pytest.mark.parametrize('key', NAMES)
def test_is_refused_in_one_line(results, key):
    error, message, seconds = results[0][key]
    assert error == 'UserError', message
    assert message.isprintable() and len(message) < 400
    assert message.startswith(f'{NAMES.index(key)}: ')
    assert seconds < SECONDS
    assert next((reason for end, reason in REASONS.items() if key.endswith(end)), '') in message


# What would take long, or much memory, if it were not refused, stays with the worker.
GREEDY = re.compile('bomb|laughs|many|copied|deep|2\\*\\*')


@pytest.mark.parametrize('key', [key for key in NAMES if not GREEDY.search(key)])
def test_is_refused_in_this_process(tmp_path, key):
    """Where coverage and mutation can see it."""
    path = tmp_path / 'checkpoint'
    path.write_bytes(FILES[key])
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    reason = next((reason for end, reason in REASONS.items() if key.endswith(end)), '')
    assert reason in str(caught.value)


def test_nothing_was_executed_or_imported(results):
    _, folder, modules = results
    assert not (folder / 'executed').exists()
    assert not {'torch', 'paddle', 'hostile_module', 'numpy.f2py', 'subprocess'} & set(modules)


@pytest.mark.parametrize('key', EXECUTING)
def test_payload_is_live(tmp_path, key):
    """Unpickled, it does harm: so the tests above would notice."""
    (tmp_path / 'hostile_module.py').write_text("open('executed', 'w').close()")
    (tmp_path / 'payload').write_bytes(pdparams(EXECUTING[key]))
    code = "import pickle; pickle.load(open('payload', 'rb'))"
    subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    assert (tmp_path / 'executed').exists()
