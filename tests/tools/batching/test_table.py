"""Tables as spreadsheets and people write them."""

import pytest

from modules.runtime.errors import UserError
from tests.support.places import ROOT
from tools.batching.places import outputs_of, place_rows
from tools.batching.table import Row, read_table

ROWS = [
    Row(2, {'source_image': 'a b.png', 'driving_video': 'ü.mp4', 'size': '128,96'}),
    Row(4, {'source_image': 'c"d.png', 'driving_video': 'ü.mp4', 'relative': 'YES'}),
]
COMMAS = (
    'picture,clip,result,size,relative\na b.png,ü.mp4,,"128,96",\n,,,,\n"c""d.png", ü.mp4 ,,,YES\n'
)
SEMICOLONS = COMMAS.replace(',', ';').replace('128;96', '128,96')
TABS = SEMICOLONS.replace(';', '\t')


@pytest.mark.parametrize(
    'data',
    [
        COMMAS.encode(),
        COMMAS.encode('utf-8-sig'),
        COMMAS.replace('\n', '\r\n').encode('utf-8-sig'),
        COMMAS.replace('\n', '\r').encode(),
        COMMAS.replace(',,,,\n', '\n').encode(),
        COMMAS.replace(',,,,\n', ' \t\n').encode(),
        COMMAS.rstrip('\n').encode(),
        (COMMAS + '\n,,\n\n').encode(),
        COMMAS.replace('relative\n', 'relative,,\n').encode(),
        SEMICOLONS.encode('utf-8-sig'),
        ('sep=;\r\n' + SEMICOLONS).encode(),
        ('sep=,\n' + COMMAS).encode('utf-8-sig'),
        TABS.encode('utf-16'),
        TABS.replace('\n', '\r\n').encode('utf-16'),
        COMMAS.replace('picture,clip', '--source_image,Driving-Video').encode(),
        COMMAS.replace('picture,clip', ' PICTURE ,"Clip"').encode(),
    ],
)
def test_one_table_written_in_many_ways(tmp_path, data):
    path = tmp_path / 'jobs.csv'
    path.write_bytes(data)
    assert read_table(path) == ROWS


def test_empty_lines_before_the_names_count(tmp_path):
    path = tmp_path / 'jobs.csv'
    path.write_text('\n\npicture,clip\na,b\n')
    assert [row.number for row in read_table(path)] == [4]


def test_a_motion_in_place_of_a_clip(tmp_path):
    path = tmp_path / 'jobs.csv'
    path.write_text('picture,motion\na,b\n')
    assert read_table(path)[0].values == {'source_image': 'a', 'motion': 'b'}


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'is empty'),
        (b'\n,\n', 'is empty'),
        (b'picture,clip\n', 'no rows'),
        (b'picture,clip\n,\n', 'no rows'),
        (b'picture,result\na,b\n', 'no column clip'),
        (b'clip,result\na,b\n', 'no column picture'),
        (b'a.png,b.mp4\n', "no column 'a.png'"),
        (b'picture,clip,relativ\na,b,yes\n', 'did you mean relative'),
        (b'picture,clip,help\na,b,yes\n', "no column 'help'"),
        (b'picture,clip,source_image\na,b,c\n', 'two columns for source_image'),
        (b'picture,clip\na,b,c\n', "row 2: 'c' is in a column without a name"),
        (b'picture,clip,size\na,b,1280,720\n', 'quote'),
        (b'picture,clip\n"a,b\n', 'line 2'),
        (b'picture,clip\n"a"b,c\n', 'line 2'),
        (b'picture,clip\n\xe4.png,b\n', 'not UTF-8'),
        (b'picture,clip\na\0,b\n', 'no text'),
        (b'PK\x03\x04picture', 'workbook'),
        (b'picture,clip\na,' + b'b' * 140_000, 'line 2: field larger than field limit'),
        (b'picture,"' + b'b' * 140_000 + b'",clip\na,b,c', 'line 1: field larger than'),
        (b'picture,clip,' + b'b' * 9000 + b'\na,b,c', 'no column'),
        (b'picture,clip\na,b,' + b'c' * 9000, 'row 2'),
    ],
)
def test_what_is_no_table(tmp_path, data, words):
    path = tmp_path / 'jobs.csv'
    path.write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_the_table_of_the_document(tmp_path):
    text = (ROOT / 'doc' / 'batch.md').read_text(encoding='utf-8')
    path = tmp_path / 'jobs.csv'
    path.write_text('picture,' + text.split('\npicture,')[1].split('```')[0])
    rows = place_rows(read_table(path), path, tmp_path / 'out')
    names = [outputs_of(row, tmp_path / 'out') for row in rows]
    assert names == [['ann.mp4'], ['ben.gif'], ['ben-nod.mp4']]
    assert rows[1].values['size'] == '256,256'


def test_no_file(tmp_path):
    for path in (tmp_path / 'none.csv', tmp_path):
        with pytest.raises(UserError, match='give a table'):
            read_table(path)
