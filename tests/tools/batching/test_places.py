"""What a batch would write over, or twice, is refused before anything is read."""

import pytest

from modules.runtime.errors import UserError
from tools.batching.places import outputs_of, place_rows
from tools.batching.table import Row


@pytest.fixture
def folder(tmp_path):
    for name in ('a.png', 'b.png', 'clip.mp4', 'jobs.csv', 'm.motion', 'out/there.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'out' / 'frames').mkdir()
    (tmp_path / 'out' / 'frames' / '0.png').touch()
    (tmp_path / 'vox-512').mkdir()
    return tmp_path


def place(folder, *rows, table='jobs.csv', out='out'):
    given = []
    for number, values in enumerate(rows, 2):
        paths = {'source_image': 'a.png', 'driving_video': 'clip.mp4', **values}
        given.append(Row(number, {name: text for name, text in paths.items() if text}))
    return place_rows(given, folder / table, folder / out)


def test_paths(folder):
    """What is read lies beside the table, what is written in the folder."""
    here = str(folder)
    more = {'result_video': 'x/r.gif', 'config': 'c.yaml', 'show_crop': 's.png'}
    first, second = place(
        folder,
        {'checkpoint': 'vox', 'size': '1,2'},
        {'checkpoint': 'vox-512', 'source_image': f'{here}/b.png', **more},
    )
    assert first.values == {
        'source_image': f'{here}/a.png',
        'driving_video': f'{here}/clip.mp4',
        'result_video': f'{here}/out/a-clip.mp4',
        'checkpoint': 'vox',  # a known name
        'size': '1,2',
    }
    assert second.values['checkpoint'] == f'{here}/vox-512'  # a folder of this name is there
    assert second.values['source_image'] == f'{here}/b.png'
    assert second.values['config'] == f'{here}/c.yaml'
    assert outputs_of(second, folder / 'out') == ['x/r.gif', 's.png']


def test_a_result_is_named_after_the_motion_without_a_clip(folder):
    (row,) = place(folder, {'driving_video': '', 'motion': 'm.motion'})
    assert outputs_of(row, folder / 'out') == ['a-m.mp4']


@pytest.mark.parametrize(
    ('rows', 'words'),
    [
        ([{}, {}], 'row 3: a-clip.mp4: would be written by row 2, too'),
        ([{'result_video': 'r.mp4'}, {'result_video': 'x/../r.mp4'}], 'by row 2, too'),
        ([{'result_video': 'r.mp4'}, {'save_motion': 'r.mp4'}], 'by row 2, too'),
        ([{'result_video': 'r.png', 'show_crop': 'r.png'}], 'written twice'),
        ([{'result_video': 'there.png'}, {'source_image': 'out/there.png'}], 'what row 3 reads'),
        ([{'save_motion': 'm'}, {'motion': 'out/m', 'result_video': 'r.mp4'}], 'what row 3 reads'),
        ([{'result_video': '../b.png'}], 'outside'),
        ([{'result_video': '/tmp/b.png'}], 'outside'),
        ([{'result_video': '.'}], 'outside'),
        ([{'result_video': 'report.csv'}], "the batch's own"),
        ([{'result_video': '.batch/r.mp4'}], "the batch's own"),
        ([{'result_video': 'frames/1.png', 'driving_video': 'out/frames'}], 'become a frame'),
        ([{'result_video': 'frames/1.mp4', 'driving_video': 'out/frames'}], None),
        ([{'result_video': 'r'}, {'result_video': 'r/s.mp4'}], 'in the result of row 2'),
    ],
)
def test_what_is_refused(folder, rows, words):
    if words is None:
        assert len(place(folder, *rows)) == len(rows)
        return
    with pytest.raises(UserError, match=words):
        place(folder, *rows)


def test_the_table_stays(folder):
    (folder / 'out' / 'report.csv').touch()
    with pytest.raises(UserError, match='rename the table'):
        place(folder, {}, table='out/report.csv')
    with pytest.raises(UserError, match='would replace the table'):
        place(folder, {'result_video': 'jobs.csv'}, out='.')


def test_a_result_that_leads_elsewhere(folder):
    (folder / 'out' / 'link.mp4').symlink_to(folder / 'clip.mp4')
    with pytest.raises(UserError, match='outside'):
        place(folder, {'result_video': 'link.mp4'})
