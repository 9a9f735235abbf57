"""Config files: what can't be read, and where things are looked for."""

import os
from pathlib import Path

import pytest
import yaml

from modules.config import load_config
from modules.runtime.errors import UserError
from tests.support.configs import (
    CONFIGS,
    PUBLISHED,
)


def test_weights_are_looked_for_beside_the_config_too(tmp_path, monkeypatch):
    """From the current folder, the config's folder, then the one above; else left as it is."""
    folder = tmp_path / 'project' / 'config'
    folder.mkdir(parents=True)
    names = {'generator': 'a.npz', 'kp': 'vox', 'discriminator': None}
    config = {'model_params': PUBLISHED['model_params'], 'ckpt_model': names}
    (folder / 'c.yaml').write_text(yaml.safe_dump(config))
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    path = Path('../here/../project/config/c.yaml')
    assert load_config(path)['ckpt_model'] == names
    for place in (folder.parent, folder):
        (place / 'a.npz').touch()
        assert load_config(path)['ckpt_model'] == {**names, 'generator': str(place / 'a.npz')}
    Path('a.npz').touch()
    assert load_config(path)['ckpt_model'] == names


FILES = [  # what a file holds, what the message must say
    ('', 'must hold the sections of a config, not null'),
    ('- 1', 'must hold the sections of a config, not [1]'),
    ('a: 1\nb: [1', 'line 2: not valid YAML'),
    ('a: 1\na: 2', 'line 2: a: given twice'),
    ('train_params:\n  scales: [1]\n  "scales": [1]\n', 'line 3: scales: given twice'),
    ('a: [{b: 1, b: 2}]', 'line 1: b: given twice'),
    ('a: !!python/object/apply:os.system [echo]', 'line 1: not valid YAML'),
    ('a: 2024-99-99', 'not valid YAML'),
    ('a: 1\n---\nb: 1', 'not valid YAML'),
    ('a: \a', 'not valid YAML'),
    ('a:\n  b: "C:\\Users\\me"', 'line 2: not valid YAML: expected escape sequence of 8 '),
    ('a: "D:\\clips"', 'in "double quotes" a \\ begins one: write paths with / or without quotes'),
    ('[' * 20000, 'nested too deeply'),
    ('&a [*a]', 'must hold the sections of a config'),
    ('a: 1:59:59', 'line 1: not valid YAML for a config: 1:59:59: a number to the base 60'),
    ('a: 1:59.5', 'a number to the base 60'),
    ('a: ' + '9' * 101, 'line 1: not valid YAML for a config: a number of 101 characters'),
    ('a: 0x' + 'f' * 5000, 'a number of 5002 characters'),
    ('? 0x' + 'f' * 5000 + '\n: 1', 'a number of 5002 characters'),
    ('a: ' + 'x' * 5000, 'a text of 5000 characters'),
    ('? ' + 'x' * 5000 + '\n: 1', 'a text of 5000 characters'),
    ('a: 2024-02-29', 'line 1: not valid YAML for a config: timestamp 2024-02-29: put a text in'),
    ('a: !!timestamp x', 'not valid YAML'),
    ('a: !!binary AAAA', 'line 1: not valid YAML for a config: binary AAAA'),
    ('a: !!set {b, c}', 'line 1: not valid YAML for a config: set'),
    ('a: !b c', 'line 1: not valid YAML for a config: !b c'),
    ('a: =', 'not valid YAML'),
    ('a: !!int ""', 'not valid YAML: a value does not suit its !!type'),
    ('a: !!float ""', 'not valid YAML: a value does not suit its !!type'),
    ('a: !!bool x', 'not valid YAML: a value does not suit its !!type'),
    ('a: !!int x', 'not valid YAML'),
    ('#' * 2**20 + '\na: 1', 'larger than 1 MB'),
    ('[' + 'a,' * 20_000 + ']', 'more than 20000 keys and values'),
    # Each has four times the keys of the one before.
    (
        'a0: &a0 {x: 1, y: 2}\n'
        + ''.join(f'a{n + 1}: &a{n + 1} {{<<: [{f"*a{n}, " * 4}]}}\n' for n in range(5)),
        'line 6: not valid YAML for a config: more than 1000 keys with those merged by <<',
    ),
    ('a: &a {<<: *a}', 'a: unknown key'),
    ('x' * 100 + ': 1', f'{"x" * 40}...{"x" * 37}: unknown key'),
]


@pytest.mark.parametrize(('text', 'words'), FILES, ids=[ascii(text[:30]) for text, _ in FILES])
def test_unreadable_file(tmp_path, text, words):
    path = tmp_path / 'c.yaml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f'{path}: ') and words in str(caught.value)


def test_missing_file_folder_and_bytes(tmp_path):
    with pytest.raises(UserError, match=r'none\.yaml: no such config'):
        load_config(tmp_path / 'none.yaml')
    with pytest.raises(UserError, match='cannot be read as a config: Is a directory'):
        load_config(tmp_path)
    for device in ('/dev/zero', '/dev/stdin'):
        with pytest.raises(UserError, match='cannot be read as a config: is no file'):
            load_config(device)
    for name in ('a\0b', 'a\ud800b'):
        with pytest.raises(UserError, match='no file can have this name'):
            load_config(name)
    os.mkfifo(tmp_path / 'pipe.yaml')
    with pytest.raises(UserError, match=r'pipe\.yaml: cannot be read as a config: is no file'):
        load_config(tmp_path / 'pipe.yaml')
    (tmp_path / 'x.yaml').write_bytes(b'a: \xff\xfe')
    with pytest.raises(UserError, match=r'x\.yaml: not valid YAML'):
        load_config(tmp_path / 'x.yaml')


@pytest.mark.parametrize('text', ['a\\0b', 'a\\ud800b', 'a\\e[31mb', 'a\\nb'])
def test_no_path_has_control_characters(tmp_path, text):
    path = tmp_path / 'c.yaml'
    lines = (CONFIGS / 'vox-256.yaml').read_text(encoding='utf-8')
    path.write_text(lines.replace('root_dir: data/vox-png', f'root_dir: "{text}"'))
    with pytest.raises(UserError, match=r'root_dir: must be a text, not ') as error:
        load_config(path, ['dataset_params'])
    assert str(error.value).isprintable()


@pytest.mark.parametrize('text', ['1e-4', '1E-4', '1.e-4', '+1e-04', '.1e-3', '1.0e-4', '0.0001'])
def test_floats_in_any_notation(tmp_path, text):
    path = tmp_path / 'c.yaml'
    lines = (CONFIGS / 'vox-256.yaml').read_text(encoding='utf-8')
    path.write_text(lines.replace('lr_generator: 2.0e-4', f'lr_generator: {text}'))
    assert load_config(path)['train_params']['lr_generator'] == 1e-4


MERGED = """
model_params:
  common_params: {num_kp: 10, num_channels: 3}
  kp_detector_params:
    <<: &hourglass {block_expansion: 8, max_features: 64, num_blocks: 3}
    temperature: 0.1
  generator_params:
    block_expansion: 16
    max_features: 64
    num_down_blocks: 2
    num_bottleneck_blocks: 3
    dense_motion_params: {<<: *hourglass, max_features: 32}
  discriminator_params: {scales: [1]}
"""


def test_merged_keys_are_no_duplicates(tmp_path):
    """YAML's own means of not repeating oneself stays usable."""
    path = tmp_path / 'c.yaml'
    path.write_text(MERGED, encoding='utf-8')
    model = load_config(path)['model_params']
    assert model['kp_detector_params']['num_blocks'] == 3
    assert model['generator_params']['dense_motion_params']['num_blocks'] == 3
    assert model['generator_params']['dense_motion_params']['max_features'] == 32


def test_limits_themselves_are_allowed(tmp_path):
    """The longest text, number, list, section and file, and what is longer by one."""
    path = tmp_path / 'c.yaml'
    lines = (CONFIGS / 'vox-256.yaml').read_text(encoding='utf-8')

    def told(text):
        path.write_text(text, encoding='utf-8')
        with pytest.raises(UserError) as caught:
            load_config(path)
        return str(caught.value)

    folder, rate = 'x' * 4096, f'2.{"0" * 95}e-4'
    lines = lines.replace('root_dir: data/vox-png', f'root_dir: {folder}')
    lines = lines.replace('lr_generator: 2.0e-4', f'lr_generator: {rate}')
    comment = '#' * (2**20 - len(lines.encode()))
    path.write_text(lines + comment, encoding='utf-8')
    config = load_config(path)
    assert config['dataset_params']['root_dir'] == folder
    assert config['train_params']['lr_generator'] == 2e-4 and len(rate) == 100
    assert 'larger than 1 MB' in told(lines + comment + '#')
    assert 'a text of 4097 characters' in told(lines.replace(folder, folder + 'x'))
    assert 'more than' not in told('[' + 'a,' * 19_999 + ']')
    own = ', '.join(f'b{n}: 1' for n in range(500))
    for count, refused in ((500, False), (501, True)):
        merged = ', '.join(f'a{n}: 1' for n in range(count))
        text = f'x: &a {{{merged}}}\ny: {{<<: *a, {own}}}'
        assert ('more than 1000 keys' in told(text)) == refused
