"""Configs, lists of pairs, tables of jobs."""

import re

from tests.fuzz.cases import Seed
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import TINY

_EVERYTHING = """\
dataset_params:
  root_dir: data
  frame_shape: [64, 64, 3]
  pairs_list: pairs.csv
  cache_gb: 1.5
  augmentation_params:
    flip_param: {horizontal_flip: yes, time_flip: true}
    rotation_param: {degrees: [-10, 10]}
    crop_param: {size: [64, 64]}
    resize_param: {ratio: [0.9, 1.1]}
    jitter_param: {brightness: 0.1, hue: 1e-1}
defaults: &kp
visualizer_params: {kp_size: 2, colormap: 'gist_rainbow'}
"""


def configs() -> dict[str, Seed]:
    tiny = (TINY / 'tiny.yaml').read_text()
    published = re.sub(r' *#.*', '', (ROOT / 'config' / 'demo-64.yaml').read_text())
    more = _EVERYTHING.replace('defaults: &kp\n', '')
    model = re.sub(r'(?ms)^dataset_params:.*?(?=^\S|\Z)', '', tiny)
    merged = model.replace('common_params:', 'common_params: &c', 1)
    texts = {
        'tiny': tiny,
        'published': published,
        'everything': more + _without(model, more),
        'anchors': merged,
    }
    seeds = {name: Seed({'a.yaml': text.encode()}) for name, text in texts.items()}
    return {**seeds, 'words': Seed({'a.yaml': b'a: [1, "b", {c: .inf}]\n'}, False)}


def _without(text: str, other: str) -> str:
    """A config without the sections that another one has."""
    for section in re.findall(r'(?m)^\w+(?=:)', other):
        text = re.sub(rf'(?ms)^{section}:.*?(?=^\w|\Z)', '', text)
    return text


def pairs() -> dict[str, Seed]:
    texts = {
        'plain': 'source,driving\na.mp4,b.mp4\nb.mp4,a.mp4\n',
        'official': 'distance,source,driving,frame\r\n0.5,a.mp4,é.mp4,0\r\n0.25,b.mp4,no.mp4,1\r\n',
        'quoted': 'driving,source\n"a.mp4","b.mp4"\n"b.mp4","a, b.mp4"\n',
    }
    return {name: Seed({'a.csv': text.encode()}) for name, text in texts.items()}


def jobs() -> dict[str, Seed]:
    texts = {
        'plain': 'picture,clip,result\na.png,a.mp4,a-a.mp4\nb.png,a.mp4,b-a.mp4\n',
        'options': 'picture;clip;result;relative;adapt_scale;batch\na.png;a.mp4;x/y.mp4;yes;no;4\n',
        'excel': 'sep=;\r\nsource_image;motion\r\n"a.png";m.safetensors\r\n;\r\n',
        'wide': '\ufeffpicture\tclip\ta.b\n'.replace('\ta.b', '') + 'é.png\tb.mp4\n',
    }
    seeds = {name: Seed({'a.csv': text.encode()}) for name, text in texts.items()}
    return {**seeds, 'utf-16': Seed({'a.csv': texts['plain'].encode('utf-16')})}
