"""Changes of YAML and of tables."""

import csv
import io
from random import Random

import yaml

from tests.fuzz.mutating import trees
from tests.fuzz.mutating.plain import NUMBERS

_TOKENS = (
    '!!int ', '!!float ', '!!bool ', '!!binary ', '!!set ', '!!omap ', '!!pairs ',
    '!!timestamp ', '!!null ',
    '!!str ', '!!seq ', '!!map ', '!!merge ', '!!python/object/apply:os.system ',
    '!!python/name:os.system ',
    '!!python/tuple ', '!x ', '! ', '!<tag:yaml.org,2002:int> ', '&a ', '*a', '&a *a', '<<: *a',
    '<<: ', '? ',
    '- ', ': ', '| ', '> ', '|9 ', '# ', '[', ']', '{', '}', '---\n', '...\n', '%YAML 9.9\n',
    '%TAG ! x\n',
    "'", '"', '"\\ud800"', '"\\x00"', '"\\U00110000"', '\\', '\t', '\x85', '\u2028', '\ufeff',
    '\0', '\x1b[31m',
    '0x10', '0b1', '0o7', '017', '1_000', '1:59', '1:59.5', '190:20:30', '.inf', '-.inf', '.nan',
    '1e400',
    '1e-400', '9' * 5000, '2001-12-14', '2001-99-99', '2001-12-14t21:59:43.10-05:00', 'yes',
    'NO', '~', '=',
    '@', '`', '[' * 3000, '{a: ' * 2000, '- ' * 3000, 'a' * 5000, '\ud800', '&a [*a]',
    '{*a : 1}', '? [1]\n: 2',
)  # fmt: skip
_CELLS = (
    *trees.TEXTS, '"', '""', '"a', 'a"b', '"a""b"', 'a,b', 'a\rb', 'a\n\nb', '\0', 'source',
    'driving',
    'a' * 140_000, ',' * 5000, '\n' * 5000, 'sep=;', '\xa0', '\udcff', "'", '\t',
)  # fmt: skip


_MOST = 2**22  # characters that a change may make


def mutate_yaml(rng: Random, data: bytes) -> bytes:
    text = data.decode('utf-8', 'surrogateescape')
    if rng.random() < 0.4:
        tree = trees.mutate(rng, yaml.safe_load(text))
        style = rng.choice((None, True, False))
        dumped = yaml.safe_dump(tree, default_flow_style=style, allow_unicode=True)
        return dumped.replace('@raw@', rng.choice(_TOKENS)).encode('utf-8', 'surrogatepass')
    lines = text.splitlines(keepends=True) or ['']
    at, way = rng.randrange(len(lines)), rng.randrange(9)
    if way < 3:
        key, colon, value = lines[at].partition(': ')
        lines[at] = rng.choice((
            f'{key}{colon}{rng.choice(_TOKENS)}{value}',
            f'{key}{colon}{rng.choice(_TOKENS)}\n',
            f'{rng.choice(_TOKENS)}{lines[at]}',
            f'{key}{rng.choice(_TOKENS)}{colon}{value}',
        ))  # fmt: skip
    elif way == 3:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif way == 4:
        del lines[at]
    elif way == 5:
        lines[at] = ' ' * rng.choice((1, 2, 4, 500)) + lines[at].lstrip()
    elif way == 6:
        number = str(rng.choice(NUMBERS)) + rng.choice(('', '.0', 'e9', '.5e-3', '_0', ':00'))
        lines[at] = lines[at].partition(':')[0] + f': {rng.choice(("", "-", "+"))}{number}\n'
    elif way == 7:
        lines.insert(at, _laughs(rng))
    else:
        first, second = sorted((at, rng.randrange(len(lines))))
        lines[first:second] = lines[first:second] * rng.choice((2, 3, 200))
    return ''.join(lines).encode('utf-8', 'surrogatepass')


def _laughs(rng: Random) -> str:
    """Sections and lists that hold one another over and over."""
    of = rng.choice(
        ('[*a{0}, *a{0}, *a{0}, *a{0}]', '{{<<: [*a{0}, *a{0}, *a{0}]}}', '{{x: *a{0}, y: *a{0}}}')
    )
    count = rng.choice((3, 12, 40))
    return 'a0: &a0 {k: 1}\n' + ''.join(
        f'a{i + 1}: &a{i + 1} {of.format(i)}\n' for i in range(count)
    )


def mutate_table(rng: Random, data: bytes) -> bytes:
    text = data.decode('utf-8-sig', 'surrogateescape')
    delimiter = rng.choice((',', ',', ',', ';', '\t', '|', ' '))
    rows = list(csv.reader(io.StringIO(text, newline=''))) or [[]]
    row, way = rng.choice(rows), rng.randrange(9)
    if way < 3 and row:
        row[rng.randrange(len(row))] = rng.choice(_CELLS)
    elif way == 3:
        row.insert(rng.randrange(len(row) + 1), rng.choice(_CELLS))
    elif way == 4 and row:
        del row[rng.randrange(len(row))]
    elif way == 5:
        rows.remove(row)
    elif way == 6:
        count = rng.choice((1, 10, 3000))
        if count * sum(map(len, row)) > _MOST:
            raise ValueError
        rows += [row] * count
    elif way == 7:
        before, after = rng.choice((',', '\n', '\r\n', 'source', 'picture')), rng.choice(_CELLS)
        if text.count(before) * len(after) > _MOST:
            raise ValueError
        return text.replace(before, after).encode('utf-8', 'surrogatepass')[: 2**20]
    else:
        coding = rng.choice(
            ('utf-16', 'utf-16-le', 'utf-32', 'utf-8-sig', 'utf-7', 'cp1252', 'utf-16-be')
        )
        return text.encode(coding, 'replace')
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE))
    file = io.StringIO(newline='')
    try:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, escapechar='\\',
                            lineterminator=rng.choice(('\n', '\r\n', '\r')))  # fmt: skip
        writer.writerows(rows)
    except csv.Error as error:
        raise ValueError from error
    return file.getvalue().encode('utf-8', 'surrogatepass')[: 2**20]
