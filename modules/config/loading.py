"""Configurations: YAML files, read and checked as a whole before anything is built.

What a key may be is said in schema.py; what keys must agree on, in agreement.py.
"""

import copy
import difflib
import itertools
import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from modules.config.agreement import contradictions
from modules.config.schema import REQUIRED, SCHEMA, Entry, Field, OptionalSection
from modules.runtime.errors import UserError, shortened
from modules.runtime.files import PathLike, open_file

_LINE = 290  # characters of a message
# The largest published config has 5 KB, 150 keys and values, and numbers of 7 characters.
_LARGEST, _MOST_NODES, _MOST_KEYS = 2**20, 20_000, 1_000
_LONGEST_NUMBER, _LONGEST_TEXT = 100, 4096
_NUMBERS = tuple(f'tag:yaml.org,2002:{kind}' for kind in ('int', 'float'))
_PLAIN_TAGS = (
    *_NUMBERS,
    *(f'tag:yaml.org,2002:{kind}' for kind in ('str', 'bool', 'null', 'seq', 'map')),
)
_MERGE = 'tag:yaml.org,2002:merge'


def load_config(path: PathLike, need: Sequence[str] = ()) -> dict[str, Any]:
    """Reads and checks a config.

    Args:
        path: the YAML file.
        need: dotted paths of what the command uses beside `model_params`, such as 'train_params'
            or 'dataset_params.frame_shape'. Any other section may be absent or partial. A command
            that uses a part of dataset_params shows the networks frames, which are RGB.

    Returns:
        The config with the defaults of `SCHEMA` filled in, in the schema's order. A section that is
        absent and cannot be made of defaults stays absent. A relative path in ckpt_model counts
        from the current folder; what is not there, from the config's folder, then the one above.

    Raises:
        UserError: no readable YAML file, or any mistake in it; names the file and the dotted key.
    """
    config = check_config(_read_yaml(path), str(path), need)
    weights = config['ckpt_model']
    weights.update({key: _locate(name, path) for key, name in weights.items() if name is not None})
    return config


def _locate(name: str, config_path: PathLike) -> str:
    """The path of a config's file of weights; see load_config."""
    folder = os.path.dirname(os.path.abspath(config_path))
    beside = (os.path.join(base, name) for base in (folder, os.path.dirname(folder)))
    return next(filter(os.path.exists, (name, *beside)), name)


def check_config(
    config: Mapping[str, Any], source: str = 'config', need: Sequence[str] = ()
) -> dict[str, Any]:
    """`load_config` for a config at hand, which stays as it is; `source` names it in messages.

    Frame sizes are checked where `dataset_params` is there, losses where `train_params` has them.
    """
    assert set(need) <= set(_paths(SCHEMA)), f'not in the schema: {need}'
    resolved = _resolve(config, SCHEMA, '', source, ('model_params', *need))
    problems = [f'{path}: {problem}' for path, problem in contradictions(resolved)]
    if problems:
        raise UserError(f'{source}: {_fitting_a_line(problems)}')
    if any(path.startswith('dataset_params') for path in need):
        channels = resolved['dataset_params']['frame_shape'][2]
        if channels != 3:
            path = 'dataset_params.frame_shape'
            raise UserError(f'{source}: {path}: {channels} channels; must be 3, frames are RGB')
    return resolved


def _fitting_a_line(problems: Sequence[str]) -> str:
    """The first, and those after it, which may have the same cause, as far as a line holds them."""
    line = problems[0]
    for problem in problems[1:]:
        if len(line) + len(problem) < _LINE:
            line += f'; {problem}'
    return line


# --- reading -----------------------------------------------------------------------------------


class _OddNodeError(Exception):
    """What YAML can say and a config need not; the message begins with the line."""

    def __init__(self, node: yaml.Node, problem: str):
        line = node.start_mark.line + 1
        super().__init__(f'line {line}: not valid YAML for a config: {problem}')


class _Loader(yaml.SafeLoader):
    """Plain data only, and 1e-4 is a number as in YAML 1.2 (PyYAML's 1.1 takes it for a text).

    What grows without bound when it is read, or fails in PyYAML, is refused while it is a node; see
    `_refuse_oddities`.
    """

    def __init__(self, data: bytes):
        super().__init__(data)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        node = super().compose_node(parent, index)
        self._nodes += 1
        if self._nodes > _MOST_NODES and node is not None:
            raise _OddNodeError(node, f'more than {_MOST_NODES} keys and values')
        return node


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'),
    list('-+.0123456789'),
)


def _read_yaml(path: PathLike) -> Any:
    try:
        with open_file(path) as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f'{path}: no such config; the published ones are in config/') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read as a config: {error.strerror}') from error
    if len(data) > _LARGEST:
        raise UserError(f'{path}: not a config: larger than {_LARGEST // 2**20} MB')
    try:
        loader = _Loader(data)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_oddities(node)
        _refuse_duplicates(node, str(path))
        return loader.construct_document(node)
    except _OddNodeError as error:
        raise UserError(f'{path}: {error}') from error
    except RecursionError as error:
        raise UserError(f'{path}: not a config: nested too deeply') from error
    # What PyYAML's own functions raise on a value that does not suit its !!tag.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'line {mark.line + 1}: ' if mark else ''
        what = getattr(error, 'problem', None) or ' '.join(str(error).split())
        if isinstance(error, (LookupError, AttributeError)):
            what = 'a value does not suit its !!type'
        if 'escape' in what:  # C:\Users in double quotes
            what = (
                f'{what}; in "double quotes" a \\ begins one: write paths with / or without quotes'
            )
        raise UserError(f'{path}: {where}not valid YAML: {what}') from error


def _walk(node: yaml.Node) -> Iterator[yaml.Node]:
    """Each node once: an alias makes one appear twice, or inside itself."""
    queue, seen = [node], set()
    while queue:
        node = queue.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            queue += node.value
        elif isinstance(node, yaml.MappingNode):
            queue += itertools.chain.from_iterable(node.value)


def _refuse_oddities(root: yaml.Node) -> None:
    """What no config needs: other types than texts, numbers, flags, lists and sections, numbers to
    the base 60, which can take as long to read as numbers can be, and sections merged (<<) over and
    over.
    """
    sizes: dict[int, int] = {}
    for node in _walk(root):
        text = node.value if isinstance(node, yaml.ScalarNode) else ''
        if node.tag not in (*_PLAIN_TAGS, _MERGE):
            kind = node.tag.rpartition(':')[2]
            raise _OddNodeError(node, f'{shortened(kind)} {shortened(text)}: put a text in quotes')
        if node.tag in _NUMBERS and ':' in text:
            raise _OddNodeError(
                node, f'{shortened(text)}: a number to the base 60; put a text in quotes'
            )
        if node.tag in _NUMBERS and len(text) > _LONGEST_NUMBER:
            raise _OddNodeError(node, f'a number of {len(text)} characters')
        if len(text) > _LONGEST_TEXT:
            raise _OddNodeError(node, f'a text of {len(text)} characters')
        if isinstance(node, yaml.MappingNode):
            _count_keys(node, sizes)


def _count_keys(node: yaml.MappingNode, sizes: dict[int, int]) -> int:
    """How many keys a section has once others are merged into it.

    Args:
        sizes: the answers so far, by the nodes' ids.
    """
    if id(node) in sizes:
        return sizes[id(node)]
    sizes[id(node)] = 0  # within itself
    count = 0
    for key, value in node.value:
        if key.tag != _MERGE:
            count += 1
            continue
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        count += sum(_count_keys(p, sizes) for p in parts if isinstance(p, yaml.MappingNode))
    if count > _MOST_KEYS:
        raise _OddNodeError(node, f'more than {_MOST_KEYS} keys with those merged by <<')
    sizes[id(node)] = count
    return count


def _refuse_duplicates(root: yaml.Node, source: str) -> None:
    """PyYAML silently keeps the last of two equal keys; here the second is an error."""
    for node in _walk(root):
        if not isinstance(node, yaml.MappingNode):
            continue
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                line = key.start_mark.line + 1
                raise UserError(
                    f'{source}: line {line}: {shortened(key.value)}: given twice; keep one'
                )
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))


# --- checking against the schema ---------------------------------------------------------------


def _resolve(value: Any, entry: Entry, path: str, source: str, need: Sequence[str]) -> Any:
    """A copy of the value with defaults filled in."""
    where = f'{source}: {path}' if path else source
    if isinstance(entry, Field):
        if not entry.kind.accepts(value):
            raise UserError(f'{where}: must be {entry.kind.expected}, not {_show(value)}')
        return copy.deepcopy(value)
    if value is None and isinstance(entry, OptionalSection):
        return None
    if not isinstance(value, Mapping):
        what = 'be a section with keys under it' if path else 'hold the sections of a config'
        raise UserError(f'{where}: must {what}, not {_show(value)}')
    for key in value:
        if key not in entry:
            raise UserError(f'{where}{": " if not path else "."}{_unknown(key, entry)}')
    resolved = {}
    for key, child in entry.items():
        child_path = f'{path}.{key}' if path else key
        if key in value:
            resolved[key] = _resolve(value[key], child, child_path, source, need)
            continue
        default = _default(child)
        if default is not REQUIRED:
            resolved[key] = default
        elif _is_needed(child_path, need):
            raise UserError(f'{source}: {child_path}: missing; must be {_describe(child)}')
    return resolved


def _default(entry: Entry) -> Any:
    """The value of an absent key or section, or REQUIRED where no default makes it whole."""
    if isinstance(entry, Field):
        return copy.deepcopy(entry.default)
    if isinstance(entry, OptionalSection):
        return None
    values = {key: _default(child) for key, child in entry.items()}
    return REQUIRED if REQUIRED in values.values() else values


def _describe(entry: Entry) -> str:
    if isinstance(entry, Field):
        return f'{entry.kind.expected} ({entry.doc})'
    return f'a section with {", ".join(entry)}'


def _is_needed(path: str, need: Sequence[str]) -> bool:
    """Whether the path is one of those needed, lies in one or leads to one."""
    return any(f'{path}.'.startswith(f'{n}.') or f'{n}.'.startswith(f'{path}.') for n in need)


def _unknown(key: Any, entry: Mapping[str, Entry]) -> str:
    """The end of the message about an unknown key, with the nearest that is known."""
    elsewhere = [path for path in _paths(SCHEMA) if path.split('.')[-1] == key]
    key = shortened(str(key))
    if elsewhere:
        return f'{key}: unknown key here; it is known as {" or ".join(elsewhere)}'
    near = difflib.get_close_matches(key, entry, n=1)
    if near:
        return f'{key}: unknown key; did you mean {near[0]}?'
    return f'{key}: unknown key; known here: {", ".join(entry)}'


def _paths(entry: Mapping[str, Entry], prefix: str = '') -> Iterator[str]:
    for key, child in entry.items():
        yield prefix + key
        if not isinstance(child, Field):
            yield from _paths(child, f'{prefix}{key}.')


def _show(value: Any) -> str:
    return 'null' if value is None else reprlib.repr(value)


# --- checking keys against each other ----------------------------------------------------------
