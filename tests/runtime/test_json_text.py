"""JSON of somebody else's."""

import pytest

from modules.runtime.json_text import parse_json


def test_what_it_says():
    assert parse_json('{"a": [1, null]}') == {'a': [1, None]}
    assert parse_json(b'[1.5]') == [1.5]


@pytest.mark.parametrize(
    'text', ['', '{', '[' * 100_000, '{"a":' * 100_000, '1' * 10_000, b'\xff', '{"a": 1} 2']
)
def test_whatever_is_none_is_one_kind_of_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
