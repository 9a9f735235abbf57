"""tools/mutation.py: what it counts."""

import json

import pytest

from modules.runtime.errors import UserError
from tools import mutation

MUTATED = """
class Reader:
    def xǁReaderǁread__mutmut_orig(self, n):
        if n < 3:
            raise ValueError(f'{n}: is too short to be read', 'rb')
        return n + 1
    def xǁReaderǁread__mutmut_1(self, n):
        if n <= 3:
            raise ValueError(f'{n}: is too short to be read', 'rb')
        return n + 1
    def xǁReaderǁread__mutmut_2(self, n):
        if n < 3:
            raise ValueError(f'{n}XX: is too short to be readXX', 'rb')
        return n + 1
    def xǁReaderǁread__mutmut_3(self, n):
        if n < 3:
            raise ValueError(f'{n}: IS TOO SHORT TO BE READ', 'rb')
        return n + 1
    def xǁReaderǁread__mutmut_4(self, n):
        if n < 3:
            raise ValueError(f'{n}: is too short to be read', 'RB')
        return n + 1
    def xǁReaderǁread__mutmut_5(self, n):
        if n < 3:
            raise ValueError(None, 'rb')
        return n + 1
"""


def test_what_differs_in_words_alone_is_no_mutant():
    found = mutation.words_alone(MUTATED)
    assert found == {'xǁReaderǁread__mutmut_2', 'xǁReaderǁread__mutmut_3'}


def test_a_sample_is_the_same_for_a_seed():
    names = [f'm{i}' for i in range(50)]
    assert mutation.sample(names, 7, 1) == mutation.sample(names[::-1], 7, 1)
    assert mutation.sample(names, 7, 1) != mutation.sample(names, 7, 2)
    assert len(set(mutation.sample(names, 7, 1))) == 7
    assert mutation.sample(names, 50, 1) == mutation.sample(names, None, 1) == names


def test_verdicts_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mutation, 'WORK', tmp_path)
    codes = {'a': 1, 'b': 0, 'c': 36, 'd': 33, 'e': 1, 'f': None}
    (tmp_path / 'm.py.meta').write_text(json.dumps({'exit_code_by_key': codes}))
    found = mutation.results_of('m.py', [*'abcd', 'of another file'])
    assert found == {'a': 'killed', 'b': 'survived', 'c': 'too slow', 'd': 'no test'}
    assert mutation.killed_share({'killed': 6, 'too slow': 1, 'survived': 2, 'no test': 1}) == 70
    with pytest.raises(UserError, match='interrupted'):
        mutation.results_of('m.py', 'f')
