"""Compiled programs are made once, of what they depend on, and kept whole."""

import multiprocessing
import os
import shutil
import stat
import weakref

import numpy as np
import pytest

from modules.checkpoints.models import StoredModels
from modules.checkpoints.writing import save_checkpoint
from modules.inference import engine as engine_module
from modules.inference import program_cache
from modules.inference.choice import build_engine
from modules.inference.engine import CompiledEngine
from modules.inference.program_cache import ProgramCache
from modules.ops.predictors import Program
from modules.parity.record import seeded_models
from modules.runtime.errors import UserError
from tests.support.engines import CONFIGS, clip, entries, frames_of
from tests.support.places import ROOT, full_disk


def build(cache=None):
    config, size = CONFIGS['tiny']
    models = seeded_models(config, 1, 'float32')
    return frames_of(CompiledEngine(models, config['model_params'], size), clip(size))


def test_programs_are_compiled_once(cache, monkeypatch):
    made = []
    compile_it = engine_module.compile_program
    monkeypatch.setattr(
        engine_module, 'compile_program', lambda *a: made.append(1) or compile_it(*a)
    )
    first = build()
    assert len(made) == 3 and len(entries(cache)) == 3
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    np.testing.assert_array_equal(build(), first)
    assert len(made) == 3
    monkeypatch.setattr(engine_module, 'describe_cpu', lambda: 'another one')
    build()
    assert len(made) == 6


def test_stored_weights_are_loaded_only_to_compile(cache, tmp_path, monkeypatch):
    config, size = CONFIGS['tiny']
    loads = []
    load = StoredModels.load
    monkeypatch.setattr(StoredModels, 'load', lambda self: loads.append(1) or load(self))

    def frames(path):
        stored = StoredModels(config, path)
        return frames_of(build_engine(stored, config['model_params'], size), clip(size))

    paths, expected = [tmp_path / 'one.safetensors', tmp_path / 'two.safetensors'], []
    for seed, path in enumerate(paths):
        models = seeded_models(config, seed, 'float32')
        save_checkpoint(path, models._asdict())
        expected.append(frames_of(models, clip(size)))
    for path, frame in zip(paths, expected):
        np.testing.assert_allclose(frames(path), frame, atol=2e-5)
    assert len(loads) == 2
    paths[0].rename(tmp_path / 'moved')
    np.testing.assert_allclose(frames(tmp_path / 'moved'), expected[0], atol=2e-5)
    assert len(loads) == 2
    shutil.copyfile(paths[1], tmp_path / 'moved')  # other weights under the same name
    np.testing.assert_allclose(frames(tmp_path / 'moved'), expected[1], atol=2e-5)
    assert len(loads) == 2
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    with pytest.raises(UserError, match=r'two.safetensors: the safetensors file is damaged'):
        frames(paths[1])


def test_other_sources_make_other_programs(cache, tmp_path, monkeypatch):
    copied = tmp_path / 'modules'
    shutil.copytree(ROOT / 'modules', copied, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(engine_module, '__file__', str(copied / 'inference' / 'engine.py'))
    build()
    (copied / 'ops' / '.editor.py').write_text('')  # hidden files are nobody's modules
    for name in ('model.py', 'training/trainer.py', 'video/reading.py', 'runtime/files.py'):
        with open(copied / name, 'a') as file:  # nothing that programs are made of
            file.write('# another\n')
    build()
    assert len(entries(cache)) == 3
    for count, name in enumerate(('util.py', 'ops/sampling.py', 'inference/layers.py'), 2):
        with open(copied / name, 'a') as file:
            file.write('# another\n')
        build()
        assert len(entries(cache)) == 3 * count


def test_memory_holds_programs_or_networks(cache, tmp_path, monkeypatch):
    """Networks that were loaded to be compiled are gone before the last program, the largest."""
    config, size = CONFIGS['tiny']
    path = tmp_path / 'weights.safetensors'
    save_checkpoint(path, seeded_models(config, 0, 'float32')._asdict())
    networks, alive = [], []
    load = StoredModels.load

    def watched_load(stored):
        models = load(stored)
        networks.extend(weakref.ref(network) for network in models if network is not None)
        return models

    class WatchedProgram(Program):
        def __init__(self, *args, **options):
            alive.append(sum(network() is not None for network in networks))
            super().__init__(*args, **options)

    monkeypatch.setattr(StoredModels, 'load', watched_load)
    monkeypatch.setattr(engine_module, 'Program', WatchedProgram)
    build_engine(StoredModels(config, path), config['model_params'], size, 'onednn')
    assert len(networks) >= 2 and len(alive) == 3 and alive[-1] == 0


def test_weights_that_change_while_they_are_read_are_not_kept(cache, tmp_path, monkeypatch):
    config, size = CONFIGS['tiny']
    path = tmp_path / 'weights.safetensors'
    save_checkpoint(path, seeded_models(config, 0, 'float32')._asdict())
    load = StoredModels.load

    def load_others(stored):
        save_checkpoint(path, seeded_models(config, 1, 'float32')._asdict())
        return load(stored)

    monkeypatch.setattr(StoredModels, 'load', load_others)
    with pytest.raises(UserError, match='changed while it was read; start again'):
        build_engine(StoredModels(config, path), config['model_params'], size)
    assert not cache.exists() or entries(cache) == []


def test_identity_of_stored_weights(tmp_path):
    """It is that of every file they are in, however these are named."""
    folder = tmp_path / 'folder'
    folder.mkdir()
    for name in ('G', 'KP', 'other'):
        (folder / f'{name}.npz').write_bytes(name.encode())
    one, two = folder / 'G.npz', folder / 'KP.npz'

    def of(generator=None, kp=None, checkpoint=None):
        listed = {'ckpt_model': {'generator': generator, 'kp': kp, 'discriminator': None}}
        return StoredModels(listed, checkpoint).identity()

    assert of(one, one) == of(checkpoint=one)
    assert len({of(one, one), of(one, two), of(two, one), of(two, two)}) == 4
    found = [of(checkpoint=folder)]
    (folder / 'other.npz').write_bytes(b'changed')
    assert of(checkpoint=folder) == found[0]
    for name in ('G', 'KP'):
        (folder / f'{name}.npz').write_bytes(b'changed')
        found.append(of(checkpoint=folder))
    assert len(set(found)) == 3


def test_damaged_entries_are_made_anew(cache):
    first = build()
    files = [path for path in cache.glob('*/*') if path.suffix != '.json']
    files[0].write_bytes(b'x' + files[0].read_bytes()[1:])
    files[1].write_bytes(files[1].read_bytes()[:-1])
    for place, damaged in zip(cache.glob('*/sums.json'), ('[', '{"a":' * 100_000)):
        place.write_text(damaged)
    np.testing.assert_array_equal(build(), first)
    assert all(ProgramCache().find(name) for name in entries(cache))
    assert len(entries(cache)) == 3


def test_no_folder_no_harm(cache, monkeypatch):
    cache.parent.parent.mkdir()
    cache.parent.write_text('a file is in the way')
    assert np.isfinite(build()).all()
    assert cache.parent.read_text() == 'a file is in the way'


def test_a_folder_that_others_may_write_is_made_private_or_not_used(cache, monkeypatch):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert ProgramCache().folder == cache and stat.S_IMODE(cache.stat().st_mode) == 0o700
    monkeypatch.setattr(os, 'getuid', lambda: 12345)
    assert ProgramCache().folder is None
    monkeypatch.undo()
    target = cache.parent / 'elsewhere'
    target.mkdir()
    link = cache.parent / 'link'
    link.symlink_to(target)
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache.parent.parent))
    monkeypatch.setattr(program_cache, 'FOLDER', 'link')
    assert ProgramCache().folder is None


def fill(folder, start, number):
    os.environ['XDG_CACHE_HOME'] = folder
    start.wait()
    for _ in range(20):
        with ProgramCache().fill('key') as scratch:
            (scratch / 'a').write_bytes(bytes([number]) * 1000)
            (scratch / 'b').write_bytes(bytes([number]) * 1000)
        found = ProgramCache().find('key')
        assert found is not None
        assert len({(found / name).read_bytes() for name in 'ab'}) == 1


def test_runs_at_the_same_time(cache):
    context = multiprocessing.get_context('fork')
    start = context.Event()
    runs = [
        context.Process(target=fill, args=(str(cache.parent.parent), start, number))
        for number in range(4)
    ]
    for run in runs:
        run.start()
    start.set()
    for run in runs:
        run.join(30)
    assert [run.exitcode for run in runs] == [0] * 4
    assert entries(cache) == ['key']


def test_where_the_disk_is_full_a_temporary_folder_serves(cache, monkeypatch):
    usage = shutil.disk_usage('.')._replace(free=program_cache.ROOM - 1)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with ProgramCache().fill('key') as scratch:
        assert scratch.is_dir() and cache not in scratch.parents
    assert not scratch.exists() and entries(cache) == []
    monkeypatch.undo()


def test_the_least_recently_used_entries_go(cache, monkeypatch):
    monkeypatch.setattr('modules.inference.program_cache.LIMIT', 2500)
    store = ProgramCache()
    (cache / 'a file of somebody else').touch()
    for number, key in enumerate('abc'):
        with store.fill(key) as scratch:
            (scratch / 'file').write_bytes(bytes(1000))
        for path in (cache / key).iterdir():
            os.utime(path, (number, number))
    assert entries(cache) == ['a file of somebody else', 'b', 'c']
    assert store.find('b')  # is used again
    with store.fill('d') as scratch:
        (scratch / 'file').write_bytes(bytes(1000))
    (cache / 'a file of somebody else').unlink()
    assert entries(cache) == ['b', 'd']


def test_why_programs_are_not_kept_is_told_once(cache, monkeypatch, capsys):
    usage = shutil.disk_usage('.')._replace(free=program_cache.ROOM - 1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'disk_usage', lambda path: usage)
        build()
    assert (
        capsys.readouterr()
        .err.splitlines()
        .count(f'note: {cache}: less than 1 GiB is free; programs are not kept')
        == 1
    )
    assert entries(cache) == []
    shutil.rmtree(cache)
    cache.write_text('a file is in the way')
    assert ProgramCache().folder is None
    assert capsys.readouterr().err == f'note: {cache}: file exists; programs are not kept\n'


def test_a_disk_without_room_for_programs_is_what_is_told(cache, tmp_path, monkeypatch, capsys):
    """And not that their compiler failed."""
    config, size = CONFIGS['tiny']
    models = seeded_models(config, 1, 'float32')
    with full_disk(1000):
        assert build_engine(models, config['model_params'], size).name == 'eager'
    told = capsys.readouterr().err
    assert 'the slow eager engine is used: its programs can not be written (file too large)' in told
    assert 'compiler failed' not in told
