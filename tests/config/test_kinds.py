"""What values a key of a config may have. The kinds are made when the schema is imported, so the
makers are tried here by themselves.
"""

import pytest

from modules.config.schema import choice, either, integer, list_of

FRUIT = choice('apple', 'pear')
COUNT = integer(2, 4)
PAIR = list_of('two counts', COUNT, lambda v: len(v) == 2)
EITHER = either(COUNT, FRUIT)


@pytest.mark.parametrize(
    ('kind', 'taken', 'refused'),
    [
        (COUNT, [2, 3, 4], [1, 5, 2.0, True, '3', None]),
        (integer(0), [0, 10**6], [-1, 10**6 + 1]),
        (FRUIT, ['apple', 'pear'], ['plum', '', 0, None, ['apple']]),
        (PAIR, [[2, 4], [3, 3]], [[2], [2, 3, 4], [2, 5], [2, 'a'], (2, 3), 2, None]),
        (EITHER, [2, 'pear'], [1, 'plum', None]),
    ],
    ids=['whole numbers', 'from 0 on', 'choices', 'lists', 'either'],
)
def test_values(kind, taken, refused):
    assert all(kind.accepts(value) is True for value in taken)
    assert not any(kind.accepts(value) for value in refused)


def test_words():
    assert COUNT.expected == 'a whole number from 2 to 4'
    assert FRUIT.expected == 'one of apple, pear'
    assert PAIR.expected == 'two counts'
    assert EITHER.expected == 'a whole number from 2 to 4, or one of apple, pear'
