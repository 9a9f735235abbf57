"""For paddle.hub: paddle.hub.load(REPOSITORY, 'animator', source='local'). See doc/python.md."""

import collections.abc
import contextlib
import importlib
import importlib.util
import os
import sys
import typing

_ROOT = os.path.dirname(os.path.abspath(__file__))


@contextlib.contextmanager
def _own_modules() -> collections.abc.Iterator[None]:
    """Within the block `modules` is this project's: other repositories have one of that name, too,
    which may be imported already. It comes back afterwards.
    """
    there = sys.modules.get('modules')
    place = os.path.dirname(os.path.abspath(getattr(there, '__file__', None) or ''))
    foreign = there is not None and place != os.path.join(_ROOT, 'modules')
    aside: dict[str, typing.Any] = {}
    if foreign:
        names = [name for name in sys.modules if name.partition('.')[0] == 'modules']
        aside = {name: sys.modules.pop(name) for name in names}
    sys.path.insert(0, _ROOT)
    try:
        yield
    finally:
        sys.path.remove(_ROOT)
        if foreign:
            for name in [name for name in sys.modules if name.partition('.')[0] == 'modules']:
                del sys.modules[name]
            sys.modules.update(aside)


with _own_modules():
    # paddle.hub says which of them are missing, once this file is imported.
    dependencies = [*importlib.import_module('modules.runtime.packages').PACKAGES, 'paddle']
    if all(importlib.util.find_spec(name) for name in dependencies):
        _api = importlib.import_module('modules.animation.api')


def animator(checkpoint=None, config=None, **settings):  # type: ignore[no-untyped-def]
    """What animates pictures: see Animator in modules/animation/api.py.

    Args:
        checkpoint: a known name ('vox', 'vox-512'), or the path of a file of weights; the bundled
            networks, for drawn creatures, if None.
        config: path of its config; where it is left out that of a known name, or of a run.
        settings: cpu, engine, precision, batch.
    """
    return _api.Animator(checkpoint, config, **settings)
