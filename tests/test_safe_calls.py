"""No file can have code run: no call of the sources would do so, as their syntax trees tell."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.places import ROOT

BUILTINS = {'eval', 'exec', 'compile', '__import__'}
MODULES = {  # what of a module is not called; None: nothing of it
    'pickle': {'load', 'loads', 'Unpickler', '_load', '_loads', '_Unpickler'},
    '_pickle': None, 'marshal': None, 'shelve': None, 'dill': None, 'cloudpickle': None,
    'joblib': {'load'},
    'yaml': {
        'load', 'load_all', 'full_load', 'full_load_all', 'unsafe_load', 'unsafe_load_all',
        'Loader', 'CLoader', 'FullLoader', 'UnsafeLoader',
    },
    'os': {'system', 'popen'},
    'subprocess': {'getoutput', 'getstatusoutput'},
    'paddle': {'load'},
    'runpy': None,
}  # fmt: skip
# Arguments that are not given, whatever is called.
ARGUMENTS = {'shell': True, 'allow_pickle': True, 'weights_only': False}
KNOWN = {
    # What this program's own processes send each other, and nobody else can write.
    ('modules/runtime/children.py', 'pickle.load'),
    ('modules/runtime/pool_process.py', 'pickle.loads'),
    # The programs that are measured: demo.py, and that of the clone that the user names.
    ('tools/benchmarking/ours.py', 'runpy.run_path'),
    ('tools/official/benchmark.py', 'runpy.run_path'),
}


def unsafe(source: str) -> Iterator[str]:
    """What of the above a source calls, passes on or imports; by its own name, whatever it is to
    the source."""
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition('.')[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f'{node.module}.{alias.name}'
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in BUILTINS and node.id not in names:
            yield node.id
        if isinstance(node, ast.Call):
            for argument in node.keywords:
                value = getattr(argument.value, 'value', ...)
                if argument.arg in ARGUMENTS and value in (ARGUMENTS[argument.arg], ...):
                    yield f'{argument.arg}={ast.unparse(argument.value)}'
            if _full_name(node.func, names) == 'torch.load' and 'weights_only' not in {
                argument.arg for argument in node.keywords
            }:
                yield 'torch.load'
        if isinstance(node, (ast.Name, ast.Attribute)):
            module, _, name = _full_name(node, names).rpartition('.')
            if module in MODULES and (MODULES[module] is None or name in MODULES[module]):
                yield f'{module}.{name}'


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f'{_full_name(node.value, names)}.{node.attr}'
    return names.get(node.id, '') if isinstance(node, ast.Name) else ''


def test_nothing_is_executed():
    paths = [
        path for part in ('*.py', 'modules/**/*.py', 'tools/**/*.py') for path in ROOT.glob(part)
    ]
    assert len(paths) > 150
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for path in paths
        for call in unsafe(path.read_text(encoding='utf-8'))
    }
    assert found == KNOWN


@pytest.mark.parametrize(
    'source, call',
    [
        ('eval(x)', 'eval'),
        ('exec("x")', 'exec'),
        ('map(eval, x)', 'eval'),
        ('import pickle\npickle.load(x)', 'pickle.load'),
        ('import pickle as p\ndef f():\n    return p.loads(x)', 'pickle.loads'),
        ('from pickle import Unpickler as U\nclass A(U): pass', 'pickle.Unpickler'),
        ('from pickle import loads\nmap(loads, x)', 'pickle.loads'),
        ('import yaml\nyaml.load(x, yaml.SafeLoader)', 'yaml.load'),
        ('from yaml import UnsafeLoader\nUnsafeLoader(x)', 'yaml.UnsafeLoader'),
        ('import subprocess\nsubprocess.run(x, shell=True)', 'shell=True'),
        ('run(x, shell=y)', 'shell=y'),
        ('np.load(x, allow_pickle=True)', 'allow_pickle=True'),
        ('import os\nos.system(x)', 'os.system'),
        ('import torch\ntorch.load(x)', 'torch.load'),
        ('import torch\ntorch.load(x, weights_only=False)', 'weights_only=False'),
        ('import paddle\npaddle.load(x)', 'paddle.load'),
        ('import marshal\nmarshal.loads(x)', 'marshal.loads'),
    ],
)
def test_a_call_is_found(source, call):
    assert call in set(unsafe(source))


@pytest.mark.parametrize(
    'source',
    [
        'model.eval()', 'import re\nre.compile(x)', 'import pickle\npickle.dumps(x)',
        'import yaml\nyaml.safe_dump(x)\nclass A(yaml.SafeLoader): pass', 'run(x, shell=False)',
        'np.load(x, allow_pickle=False)', 'import torch\ntorch.load(x, weights_only=True)',
        'import json\njson.load(x)', 'def load(): pass\nload()',
    ],
)  # fmt: skip
def test_others_are_not(source):
    assert not list(unsafe(source))
