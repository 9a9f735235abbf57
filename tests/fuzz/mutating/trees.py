"""Changes of JSON, and of what else is made of dicts, lists and single values."""

import copy
import json
from random import Random
from typing import Any

from tests.fuzz.mutating.plain import NUMBERS

TEXTS = (
    '', ' ', 'a', 'a' * 300, 'a' * 5000, '\0', 'a\0b', '\n', 'a\nb', '\r\n', '\x1b[31m', '\x85',
    '\u2028',
    '\u202e', '\ufeff', 'é', '😀', '\ud800', 'null', 'true', 'None', 'nan', 'inf', '-1', '1.5',
    '1e999', '0x10', '1:30', '٣', '²', '../x', '..', '/', '/dev/zero', '/etc/passwd', 'c:\\x',
    '%s%n',
    '{0}', '$HOME', '~', '*', '[', ']', '{', '}', '"', "'", '\\', ',', ';', '=1+1', 'F32', 'F64',
    'BF16',
    'F8_E4M3', 'F8_E5M2', 'I64', 'U8', 'U32', 'BOOL', 'C64', 'F4', '<f4', '>f8', '|O', '|V8',
    '<U4', '<c8',
)  # fmt: skip
FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e-4, 1e10, 1e300, 1.7e308, float('inf'), float('nan'))
# What stands in the text in place of a value that no tree can hold.
_RAW = '@raw@'
_RAW_TEXTS = (
    *('[' * 100_000, '{"a":' * 50_000, '1' * 5000, '-' + '9' * 400, '1e999', '-1e-999', 'NaN'),
    *(
        'Infinity',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '{"a":1,"a":2}',
        '',
        '01',
        '"',
        '+1',
        '1.',
        "'a'",
    ),
    *('"' + 'b' * 70_000 + '"', '[' + '0,' * 40_000 + '0]', '\\', '/**/1', '\0', '\xff', '1_000'),
)


def odd(rng: Random) -> Any:
    """A value that hardly anybody expects."""
    kind = rng.randrange(8)
    if kind < 2:
        return rng.choice(NUMBERS) * rng.choice((1, 1, -1))
    if kind == 2:
        return rng.choice(FLOATS) * rng.choice((1, -1))
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return rng.choice((None, True, False, [], {}, [[]], {'': {}}, [None]))
    if kind == 6:
        return [odd(rng) for _ in range(rng.randint(1, 4))]
    return {str(odd(rng)): odd(rng) for _ in range(rng.randint(1, 3))}


def mutate(rng: Random, tree: Any) -> Any:
    """A copy of a tree with one change."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return odd(rng)
    holder, key = rng.choice(places)
    value, way = holder[key], rng.randrange(11)
    if way < 3:
        holder[key] = odd(rng)
    elif way == 3:
        del holder[key]
    elif way == 4:
        _add(rng, holder, value)
    elif way == 5:
        other, there = rng.choice(places)
        if there in other if isinstance(other, dict) else there < len(other):
            holder[key] = copy.deepcopy(other[there])
    elif way == 6:
        holder[key] = [value] if rng.random() < 0.5 else {rng.choice(TEXTS): value}
    elif way == 7:
        for _ in range(rng.choice((20, 100))):
            value = [value] if rng.random() < 0.7 else {'a': value}
        holder[key] = value
    elif way == 8 and type(value) in (int, float):
        holder[key] = rng.choice(
            (value + 1, value - 1, -value, value * 2, value * 1000, str(value))
        )
    elif way == 9 and isinstance(holder, dict):
        holder[rng.choice((str(odd(rng)), f'{key}.', str(key)[:-1], str(key).upper()))] = (
            holder.pop(key)
        )
    else:
        holder[key] = _RAW
    return tree


def _add(rng: Random, holder: Any, value: Any) -> None:
    if isinstance(holder, dict):
        holder[str(odd(rng))] = value if rng.random() < 0.5 else odd(rng)
    else:
        holder += [copy.deepcopy(value) for _ in range(rng.choice((1, 3, 100)))]


def _places(tree: Any) -> Any:
    """(container, key) of every value; of what is there twice, as in YAML, once."""
    queue, seen = [tree], set()
    while queue:
        node = queue.pop()
        if id(node) in seen:
            continue
        if isinstance(node, dict | list):
            seen.add(id(node))
        if isinstance(node, dict):
            inner = list(node.items())
        elif isinstance(node, list):
            inner = list(enumerate(node))
        else:
            continue
        for key, value in inner:
            yield node, key
            queue.append(value)


def to_json(rng: Random, tree: Any) -> bytes:
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    raw = rng.choice(_RAW_TEXTS)
    # Once only where it is long.
    text = text.replace(f'"{_RAW}"', raw, -1 if len(raw) < 100 else 1).replace(_RAW, 'raw')
    return text.encode('utf-8', 'surrogatepass')


def mutate_json(rng: Random, data: bytes) -> bytes:
    return to_json(rng, mutate(rng, json.loads(data)))
