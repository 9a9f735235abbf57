"""Configurations: YAML files, read and checked as a whole before anything is built.

What a key may be is said in schema.py; what keys must agree on, in agreement.py.
"""

import copy
import difflib
import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from modules.config.agreement import contradictions
from modules.config.schema import REQUIRED, SCHEMA, Entry, Field, OptionalSection
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike

_LINE = 290  # characters of a message


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


class _Loader(yaml.SafeLoader):
    """Plain data only, and 1e-4 is a number as in YAML 1.2 (PyYAML's 1.1 takes it for a text)."""


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'),
    list('-+.0123456789'),
)


def _read_yaml(path: PathLike) -> Any:
    try:
        loader = _Loader(Path(path).read_bytes())
        node = loader.get_single_node()
        _refuse_duplicates(node, str(path))
        return None if node is None else loader.construct_document(node)
    except FileNotFoundError:
        raise UserError(f'{path}: no such config; the published ones are in config/') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read as a config: {error.strerror}') from error
    except RecursionError as error:
        raise UserError(f'{path}: not a config: nested too deeply') from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'line {mark.line + 1}: ' if mark else ''
        what = getattr(error, 'problem', None) or error
        if 'escape' in str(what):  # C:\Users in double quotes
            what = (
                f'{what}; in "double quotes" a \\ begins one: write paths with / or without quotes'
            )
        raise UserError(f'{path}: {where}not valid YAML: {what}') from error


def _refuse_duplicates(node: yaml.Node | None, source: str) -> None:
    """PyYAML silently keeps the last of two equal keys; here the second is an error."""
    queue, seen = [node], set()  # an alias makes a node appear twice, or inside itself
    while queue:
        node = queue.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            queue += node.value
            continue
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                line = key.start_mark.line + 1
                raise UserError(f'{source}: line {line}: {key.value}: given twice; keep one')
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            queue.append(value)


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
    if elsewhere:
        return f'{key}: unknown key here; it is known as {" or ".join(elsewhere)}'
    near = difflib.get_close_matches(str(key), entry, n=1)
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
