"""What values a key of a config may have. The schema makes its kinds when it is imported; here they
are made in the tests.
"""

import pytest

from modules.config.schema import choice, either, integer, list_of


def kinds():
    count, fruit = integer(2, 4), choice('apple', 'pear')
    return {
        'whole numbers': count,
        'from 0 on': integer(0),
        'choices': fruit,
        'lists': list_of('two counts', count, lambda v: len(v) == 2),
        'either': either(count, fruit),
    }


@pytest.mark.parametrize(
    ('name', 'taken', 'refused'),
    [
        ('whole numbers', [2, 3, 4], [1, 5, 2.0, True, '3', None]),
        ('from 0 on', [0, 10**6], [-1, 10**6 + 1]),
        ('choices', ['apple', 'pear'], ['plum', '', 0, None, ['apple']]),
        ('lists', [[2, 4], [3, 3]], [[2], [2, 3, 4], [2, 5], [2, 'a'], (2, 3), 2, None]),
        ('either', [2, 'pear'], [1, 'plum', None]),
    ],
)
def test_values(name, taken, refused):
    kind = kinds()[name]
    assert all(kind.accepts(value) is True for value in taken)
    assert not any(kind.accepts(value) for value in refused)


def test_words():
    assert {name: kind.expected for name, kind in kinds().items()} == {
        'whole numbers': 'a whole number from 2 to 4',
        'from 0 on': 'a whole number from 0 to 1000000',
        'choices': 'one of apple, pear',
        'lists': 'two counts',
        'either': 'a whole number from 2 to 4, or one of apple, pear',
    }
