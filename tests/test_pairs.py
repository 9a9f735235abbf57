"""The pairs that animate.py makes: drawn as officially, or listed."""

import numpy as np
import pytest

from frames_dataset import FramesDataset, Pair, animation_pairs
from modules.runtime.errors import UserError
from tests.support.dataset_files import SIZE, frames, write_folder


@pytest.fixture
def tests(tmp_path):
    for name in ('a', 'b', 'c'):
        write_folder(tmp_path / 'data' / 'test' / name, frames(2))
    return tmp_path / 'data'


def official_pairs(clips, count):
    """(driving, source), as the official code draws them."""
    np.random.seed(0)
    side = min(count, clips)
    square = np.mgrid[:side, :side].reshape(2, -1).T
    chosen = np.random.choice(len(square), min(len(square), count), replace=False)
    return [tuple(map(int, square[cell])) for cell in chosen]


@pytest.mark.parametrize('count', [1, 2, 5, 50])
def test_random_pairs_are_the_official_ones(tests, count):
    pairs = animation_pairs(FramesDataset(tests, (SIZE, SIZE, 3), is_train=False), count)
    assert [(pair.driving, pair.source) for pair in pairs] == official_pairs(3, count)
    assert len(pairs) == min(count, min(count, 3) ** 2)


def write_pairs(folder, *rows):
    path = folder / 'pairs.csv'
    path.write_text('\n'.join(('distance,source,driving', *rows)) + '\n', encoding='utf-8-sig')
    return path


def test_listed_pairs_of_known_clips(tests, tmp_path):
    path = write_pairs(tmp_path, '1,c,a', '2,a,x', '3,b,b', '4,a,b')
    data = FramesDataset(tests, (SIZE, SIZE, 3), is_train=False, pairs_list=path)
    assert animation_pairs(data, 2) == [Pair(source=2, driving=0), Pair(source=1, driving=1)]
    assert len(animation_pairs(data, 50)) == 3


@pytest.mark.parametrize(
    'content, message',
    [
        ('a,b\n1,2\n', 'needs the columns source and driving'),
        ('source,driving\nx,y\n', 'none of its 1 pairs, such as x and y, is in'),
        ('', 'needs the columns'),
        ('source,driving\n', 'none of its 0 pairs'),
        (b'\xff\xfe\x00', 'not a csv file'),
        ('source,driving\nx\n', 'such as x and None, is in'),
        ('source,driving\n' + 'x' * 100 + ',y\n', f'{"x" * 40}...{"x" * 37} and y, is in'),
    ],
)
def test_bad_pairs_lists(tests, tmp_path, content, message):
    path = tmp_path / 'pairs.csv'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        animation_pairs(FramesDataset(tests, (SIZE, SIZE, 3), is_train=False, pairs_list=path), 3)


def test_without_the_list_of_a_published_config_pairs_are_drawn(tests, capsys):
    drawn = animation_pairs(FramesDataset(tests, (SIZE, SIZE, 3), is_train=False), 5)
    listed = FramesDataset(tests, (SIZE, SIZE, 3), is_train=False, pairs_list='data/vox256.csv')
    assert animation_pairs(listed, 5) == drawn
    line = capsys.readouterr().err
    assert 'data/vox256.csv: no such file; pairs are drawn' in line and line.count('\n') == 1
