"""What commands say is told in Chinese, as long as they say it in these words."""

import ast
import re
import string

import pytest

from tests.support.places import ROOT
from tools.page.reasons import REASONS, told_reason
from tools.page.texts import Texts, told_note

FACES = 'python -m pip install --no-deps -r requirements-faces.txt'
# One for each pattern, as a command prints it.
SENTENCES = [
    'me.png: not a picture that can be read; save it as PNG or JPEG',
    'me.png: too many pixels; scale the picture down',
    'me.png: damaged picture (broken PNG file); replace it',
    'a frame of more than 2073600 pixels',
    'a frame that is no JPEG, or a damaged one',
    'me.heic: HEIC is read with the package pillow-heif; install that, or save the picture as PNG '
    'or JPEG',
    'me.tif: 32-bit gray values; save the picture with 8 or 16 bits',
    'me.tif: float values outside [0, 1]; save the picture with 8 bits',
    'a.mp4: can not be decoded (Not yet implemented); convert it to H.264 in mp4',
    'a.mp4: its video codec is unknown to libav; convert it to H.264',
    'a.mp4: a still picture, not a video; give a clip',
    'a.mp4: its time stamps leap; re-encode it at a constant rate',
    'me.png: has no face that could be found; give --source_crop x,y,w,h, or --crop object or none',
    'me.png: neither a face nor an object could be found (faces are found by an extra: '
    f'{FACES}); give --source_crop x,y,w,h, or --crop none',
    'me.png: no object could be found; give --source_crop x,y,w,h, or --crop none',
    f'--crop face: faces are found by an extra: {FACES}',
    'the keypoints span no area, so there is no size to adapt to or compare; for this model or '
    'clip, leave out --adapt_scale (in a config: adapt_movement_scale) and --find_best_frame',
    'the keypoints span no area in any driving frame, so there is none to compare; leave out '
    '--find_best_frame for this model or clip',
    'https://a.b/vox.pdparams: the download failed (no route to host); try again later to go on '
    'from there, or get the file by other means and put it as vox.pdparams',
    'https://a.b/vox.pdparams: what came from there is of no use: it is a web page',
    'wide: give width and height in pixels, such as 1280,720; 16384 at most',
    '-2: give a factor above 0, such as 2; 16 at most',
    'the result would be 20000 x 20, and 16384 pixels are the most a side can have; give a smaller '
    '--size',
    'best frame: 3',
    f"faces are cropped by an extra, the networks' keypoints did it: {FACES}",
    'downloading https://a.b/vox.pdparams, once, into cache',
    'me.png: 640 x 480 is squeezed to 256 x 256; crop it to that shape for a better result',
    '--size 64,64: squeezes a result of 640 x 480; 64,48 would keep its shape',
    'the result is 9000 x 8000; players may stop at 4096 x 2304; then give --size 2592,2304',
    'a.mp4: no sound track to copy; written without it',
    'a.mp4: unusable sound track; written without it',
    'a.mp4: damaged sound track; some of it is missing',
    'the slow eager engine is used: this machine is no x86',
]
NAMED = re.compile(r'^(me|a)\.\w+: ')


def said():
    """All that the project's sources may say, as the parts between its values."""
    for path in (*ROOT.glob('modules/**/*.py'), *ROOT.glob('tools/page/*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                yield [getattr(part, 'value', '') for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield [node.value]


def fits(sentence, parts):
    """Whether the parts stand in the sentence in this order, with values between them alone."""
    parts = [part if isinstance(part, str) else '' for part in parts]
    if sum(map(len, parts)) < 10 or not sentence.startswith(parts[0]):
        return False
    place = 0
    for part in parts:
        place = sentence.find(part, place) + len(part)
        if place < len(part):
            return False
    return sentence.endswith(parts[-1])


def without_file(sentence):
    """As the page tells it beside a picture or clip, whose name is left out."""
    return NAMED.sub('', sentence)


@pytest.fixture(scope='module')
def texts():
    return list(said())


@pytest.mark.parametrize('sentence', SENTENCES)
def test_commands_say_so(texts, sentence):
    assert any(fits(sentence, parts) for parts in texts)


@pytest.mark.parametrize('sentence', SENTENCES)
def test_it_is_told_in_chinese(sentence):
    lines = [line[:1].upper() + line[1:] for line in (sentence, without_file(sentence))]
    told = [told_reason('zh', f'{line}.') for line in lines]
    chinese = [text for line, text in zip(lines, told) if text != f'{line}.']
    assert chinese and all(re.search('[\u4e00-\u9fff]', text) for text in chinese)
    assert [told_reason('en', line) for line in lines] == lines


def test_every_pattern_is_met():
    for number, (pattern, text) in enumerate(REASONS):
        met = [
            line
            for sentence in SENTENCES
            for line in (sentence, without_file(sentence))
            if re.fullmatch(pattern, line, re.IGNORECASE)
        ]
        assert met, f'{number}: {pattern}'
        fields = {part[1] for part in string.Formatter().parse(text)} - {None}
        assert fields <= re.compile(pattern).groupindex.keys()


def test_values_are_kept():
    line = 'The result would be 20000 x 20, and 16384 pixels are the most a side can have; give a.'
    assert (
        told_reason('zh', line) == '结果将是 20000 x 20，而边长最多 16384 像素，请改小“结果尺寸”。'
    )
    assert told_note(Texts('zh'), 'best frame: 3') == '最相似的姿态在第 3 帧（从 0 数起）。'


def test_what_is_not_known_stays_as_it_is():
    assert told_reason('zh', 'Something {odd} happened.') == 'Something {odd} happened.'
    assert told_reason('zh', 'a' * 100_000) == 'a' * 100_000
