"""The compiled engine: the same numbers as the networks, whatever the config and the cache."""

import copy
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

import demo
from modules.animation.animator import animate, explained_animation, find_best_frame
from modules.animation.normalization import Normalization
from modules.checkpoints.models import StoredModels, save_checkpoint
from modules.config import check_config
from modules.eager import EagerEngine
from modules.inference import choice, folding, program_cache, winograd
from modules.inference import engine as engine_module
from modules.inference import layers as inference_layers
from modules.inference.choice import build_engine
from modules.inference.engine import CompiledEngine
from modules.inference.folding import Kernel
from modules.inference.layers import LeanConvRelu
from modules.inference.networks import FrameDecoder
from modules.inference.program_cache import ProgramCache
from modules.ops import predictors
from modules.ops.predictors import Program, compile_program
from modules.parity.record import seeded_models
from modules.runtime.errors import UserError
from modules.runtime.process import describe_cpu
from tests.support.places import ROOT
from tests.support.tiny import TINY

RELATIVE = Normalization(True, True)


def config_of(common=None, detector=None, motion=None, **generator):
    config = {key: copy.deepcopy(TINY[key]) for key in ('dataset_params', 'model_params')}
    params = config['model_params']
    params['common_params'].update(common or {})
    params['kp_detector_params'].update(detector or {})
    params['generator_params'].update(generator)
    params['generator_params']['dense_motion_params'].update(motion or {})
    return check_config(config, need=('dataset_params',))


CONFIGS = {
    'tiny': (config_of(), (32, 32)),
    'winograd': (config_of(block_expansion=16, max_features=64), (32, 48)),
    'winograd, one halving': (
        config_of(block_expansion=32, max_features=64, num_down_blocks=1), (32, 32)
    ),
    'winograd, none': (config_of(block_expansion=64, num_down_blocks=0, max_features=64), (32, 32)),
    'no whole tiles': (config_of(block_expansion=16, max_features=64), (40, 24)),
    'nothing halved, odd': (config_of(num_down_blocks=0), (31, 39)),
    'three halvings': (config_of(num_down_blocks=3), (32, 48)),
    'no bottleneck': (config_of(num_bottleneck_blocks=0), (32, 32)),
    'no occlusion, corners of pixels': (
        config_of({'align_corners': False}, estimate_occlusion_map=False), (32, 32)
    ),
    'zero order': (config_of({'estimate_jacobian': False}), (32, 32)),
    'full scale, one Jacobian': (
        config_of(
            None,
            {'scale_factor': 1, 'single_jacobian_map': True, 'pad': 3},
            {'scale_factor': 1},
        ),
        (32, 32),
    ),
}  # fmt: skip


def clip(size, count=3, seed=0):
    """Smooth pictures, as keypoints of noise would be nowhere."""
    random = np.random.RandomState(seed)
    coarse = random.rand(count, 5, 5, 3)
    rows, columns = (np.linspace(0, 3.99, n) for n in size)
    i, j = (x.astype(int) for x in (rows, columns))
    a, b = (rows - i)[:, None, None], (columns - j)[:, None]
    top = coarse[:, i][:, :, j] * (1 - b) + coarse[:, i][:, :, j + 1] * b
    bottom = coarse[:, i + 1][:, :, j] * (1 - b) + coarse[:, i + 1][:, :, j + 1] * b
    return (top * (1 - a) + bottom * a).astype(np.float32)


def frames_of(engine, frames, normalization=RELATIVE):
    return np.stack(list(animate(engine, frames[0], frames, normalization)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'first-order-model' / 'programs'


@pytest.mark.parametrize('name', CONFIGS)
def test_frames_are_those_of_the_networks(name):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    frames = clip(size)
    compiled = build_engine(models, config['model_params'], size, 'onednn', explain=True)
    assert compiled.name == 'onednn'
    np.testing.assert_allclose(
        frames_of(compiled, frames), frames_of(models, frames), atol=2e-5, rtol=0
    )
    steps = [
        next(explained_animation(engine, frames[0], frames[1:2], RELATIVE))
        for engine in (compiled, EagerEngine(models))
    ]
    for part in steps[1].generated._fields:
        found, expected = (getattr(step.generated, part) for step in steps)
        assert (found is None) == (expected is None), part
        if found is not None:
            assert found.shape == expected.shape
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, err_msg=part)


@pytest.mark.parametrize('bf16', [False, True])
@pytest.mark.parametrize('scale', [1, 0])  # of a batch norm: 0 needs another way
def test_what_is_reshaped_in_place_has_no_other_reader(scale, bf16):
    config, size = CONFIGS['winograd']
    config = copy.deepcopy(config)
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 3
    models = seeded_models(config, 1, 'float32')
    norm = models.generator.bottleneck[1].norm1
    norm.weight.set_value(norm.weight * scale)
    decoder = FrameDecoder(models.generator.eval(), size, bf16, explain=True)
    shapes = engine_module._decoder_inputs(
        decoder, models.generator, config['model_params']['common_params'], size
    )
    specs = [InputSpec(shape, 'float32') for shape in shapes]
    static = paddle.jit.to_static(decoder, full_graph=True, input_spec=specs)
    operations = static.forward.concrete_program.main_program.global_block().ops
    reshaped = [op.operand_source(0) for op in operations if op.name() == 'pd_op.reshape_']
    assert len(reshaped) > 20
    assert all(len(value.all_used_ops()) == 1 for value in reshaped)


@pytest.mark.parametrize('name', ['tiny', 'nothing halved, odd'])
def test_convolutions_with_many_weights(name, cache, monkeypatch):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    forward, shapes = LeanConvRelu.forward, set()

    def watched(self, x):
        shapes.add(tuple(x.shape[2:]))
        return forward(self, x)

    monkeypatch.setattr(LeanConvRelu, 'forward', watched)
    monkeypatch.setattr(inference_layers, '_MANY', 1)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    assert len(shapes) >= 2
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.parametrize('scales', [(0, 1, 1), (1, -0.5, -0.7), (1e-6, 1, 1)])
def test_scales_of_any_sign_and_size(scales):
    """Batch norms before a residual block."""
    config, size = CONFIGS['winograd']
    config = copy.deepcopy(config)
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 3
    models = seeded_models(config, 1, 'float32')
    blocks = models.generator.bottleneck
    weight = blocks[1].norm1.weight.numpy()
    weight[:3] = scales
    blocks[1].norm1.weight.set_value(weight)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.skipif(
    'avx512bw' not in describe_cpu().split(),
    reason='without AVX-512 oneDNN cannot even emulate bfloat16: it ends the process',
)
@pytest.mark.parametrize('name', ['tiny', 'winograd'])
def test_bf16_is_close_and_finds_the_same_keypoints(name, monkeypatch):
    monkeypatch.setattr(choice, '_has_bf16', lambda: True)
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    frames = clip(size)
    engine = build_engine(models, config['model_params'], size, 'onednn', 'bf16')
    expected = frames_of(models, frames)
    error = np.square(frames_of(engine, frames) - expected).mean()
    assert -10 * np.log10(error) > 40
    image = paddle.to_tensor(frames[:1].transpose(0, 3, 1, 2))
    for found, wanted in zip(engine.detect(image), models.kp_detector(image)):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_two_sources_by_turns():
    """What the decoder holds of a source is replaced by the next one's."""
    config, size = CONFIGS['tiny']
    models = seeded_models(config, 1, 'float32')
    engine = CompiledEngine(models, config['model_params'], size)
    frames = clip(size)
    turns = zip(*(animate(engine, source, frames) for source in frames[:2]))
    alone = zip(*(animate(models, source, frames) for source in frames[:2]))
    for found, expected in zip(turns, alone):
        assert np.abs(expected[0] - expected[1]).max() > 1e-3
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert find_best_frame(engine, frames[1], frames)[0] == 1


# ---- identities ----


def convolve(x, kernel, padding, stride=1):
    weight, bias = (paddle.to_tensor(array) for array in kernel)
    tensor = paddle.to_tensor(x)
    return paddle.nn.functional.conv2d(tensor, weight, bias, stride, padding).numpy()


def a_kernel(out, channels, size, seed=0):
    random = np.random.RandomState(seed)
    return Kernel(random.randn(out, channels, size, size), random.randn(out))


def test_doubled_and_final_convolutions_at_the_small_size():
    """In float64, so that only the identity is at question, borders included."""
    x = np.random.RandomState(1).randn(1, 2, 5, 4)
    first, final = a_kernel(3, 2, 3), a_kernel(2, 3, 7, 1)
    doubled = np.maximum(convolve(x.repeat(2, 2).repeat(2, 3), first, 1), 0)
    expected = convolve(doubled, final, 3)
    marked = np.concatenate([x, folding.border_marks(5, 4)], axis=1)
    split = folding.silence_borders(folding.split_doubled(first, taps=2))
    places = np.maximum(convolve(marked, split, 1), 0)
    assert places.shape == (1, 12, 6, 5)
    y = convolve(places, folding.after_split(final), 1).reshape(2, 2, 2, 5, 4)
    y = y.transpose(0, 3, 1, 4, 2).reshape(1, 2, 10, 8)
    np.testing.assert_allclose(y, expected, atol=1e-9)
    strided = convolve(doubled, folding.two_by_two(final), 3, 2).reshape(2, 2, 2, 5, 4)
    np.testing.assert_allclose(
        strided.transpose(0, 3, 1, 4, 2).reshape(expected.shape), expected, atol=1e-9
    )


def test_paddles_passes_that_are_left_out_are_wrong(tmp_path, monkeypatch):
    """If this fails, Paddle has mended them; then leave them in, which is faster."""

    class Net(paddle.nn.Layer):
        def forward(self, x):
            x = x.transpose([2, 0, 1]).unsqueeze(0)
            weight = paddle.full([4, 4, 3, 3], 0.1)
            bias = paddle.full([4], 0.1)
            conv = paddle.nn.functional.conv2d
            return x + conv(paddle.nn.functional.relu(x * 0.5 + 0.1), weight, bias, padding=1)

    x = np.random.RandomState(0).randn(8, 8, 4).astype('float32')
    compile_program(Net(), [x.shape], tmp_path)
    errors = []
    for passes in (predictors._UNWANTED_PASSES, predictors._UNWANTED_PASSES[:1]):
        monkeypatch.setattr(predictors, '_UNWANTED_PASSES', passes)
        program = Program(tmp_path)
        program.set(0, x)
        errors.append(np.abs(program.run()[0] - Net()(paddle.to_tensor(x)).numpy()).max())
    assert errors[0] < 1e-5 < errors[1]


# ---- cache ----


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


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
    next(cache.glob('*/sums.json')).write_text('[')
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


def test_the_least_recently_used_entries_go(cache):
    store = ProgramCache(limit=2500)
    for number, key in enumerate('abc'):
        with store.fill(key) as scratch:
            (scratch / 'file').write_bytes(bytes(1000))
        for path in (cache / key).iterdir():
            os.utime(path, (number, number))
    assert entries(cache) == ['b', 'c']
    assert store.find('b')  # is used again
    with store.fill('d') as scratch:
        (scratch / 'file').write_bytes(bytes(1000))
    assert entries(cache) == ['b', 'd']


# ---- the choice ----


def choose(engine='auto', precision='fp32', models=None):
    config, size = CONFIGS['tiny']
    models = models or seeded_models(config, 1, 'float32')
    return build_engine(models, config['model_params'], size, engine, precision)


def test_auto_is_the_compiled_one(capsys):
    assert choose().name == 'onednn' and choose('eager').name == 'eager'
    assert capsys.readouterr().err == ''


def test_what_is_lacking_is_told_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(choice, '_has_bf16', lambda: False)
    assert choose(precision='bf16').name == 'onednn'
    note = 'note: --precision bf16: this CPU has no instructions for it, so fp32 is used\n'
    assert capsys.readouterr().err == note
    monkeypatch.setattr(choice, '_lack_of_onednn', lambda: 'nothing there')
    assert choose().name == 'eager'
    assert capsys.readouterr().err == 'note: the slow eager engine is used: nothing there\n'
    with pytest.raises(UserError, match='--engine onednn: nothing there; use --engine eager'):
        choose('onednn')
    assert choose('eager', 'bf16').name == 'eager'
    assert 'only fp32 on the CPU' in capsys.readouterr().err
    with pytest.raises(UserError, match='fp16: is for GPUs; on the CPU choose bf16'):
        choose(precision='fp16')


def test_a_program_that_computes_something_else_is_not_used(cache, monkeypatch, capsys):
    run = Program.run
    monkeypatch.setattr(Program, 'run', lambda self: [array + 0.1 for array in run(self)])
    assert choose().name == 'eager'
    assert 'a compiled program is wrong by' in capsys.readouterr().err
    assert entries(cache) == []


@pytest.fixture
def gpu(monkeypatch):
    """A second GPU, as far as engines are chosen; what would run on it runs on the CPU, by Paddle's
    own operations. Gives the numbers of the GPUs that programs are for.
    """
    monkeypatch.setattr(paddle.device, 'get_device', lambda: 'gpu:1')
    monkeypatch.setattr(paddle.device.cuda, 'get_device_name', lambda number: f'No. {number}')
    monkeypatch.setattr(paddle.device.cuda, 'get_device_capability', lambda: (8, 0))
    used = []

    def use(config, number):
        config.disable_gpu()
        config.disable_mkldnn()
        config.delete_pass('inplace_pass')
        used.append(number)

    monkeypatch.setattr(predictors, '_use_gpu', use)
    return used


def test_gpus_run_eagerly(gpu):
    models = SimpleNamespace(eval=lambda: None)
    assert choose(precision='fp16', models=models).dtype == 'float16'
    with pytest.raises(UserError, match='runs on the CPU; add --cpu'):
        choose('onednn', models=models)


@pytest.mark.parametrize('name', CONFIGS)
def test_programs_for_gpus(name, gpu, cache, monkeypatch):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    CompiledEngine(models, config['model_params'], size, explain=True)  # may share no program
    monkeypatch.setattr(winograd.WinogradConv, '__init__', None)  # is for CPUs
    frames = clip(size)
    for made in (3, 6):  # and from the cache
        compiled = build_engine(models, config['model_params'], size, 'cudnn', explain=True)
        assert compiled.name == 'cudnn' and gpu == [1] * made
        np.testing.assert_allclose(
            frames_of(compiled, frames), frames_of(models, frames), atol=2e-5, rtol=0
        )
    step = next(explained_animation(compiled, frames[0], frames, RELATIVE))
    assert step.generated.mask is not None and step.generated.deformed is not None


@pytest.mark.parametrize('factor, name', [(1.003, 'cudnn'), (1.01, 'eager')])
def test_programs_for_gpus_may_round_factors_but_not_be_wrong(
    factor, name, gpu, cache, monkeypatch
):
    run = Program.run
    monkeypatch.setattr(Program, 'run', lambda self: [array * factor for array in run(self)])
    assert choose('cudnn').name == name
    with pytest.raises(RuntimeError, match='a compiled program is wrong by'):
        config, size = CONFIGS['tiny']
        CompiledEngine(seeded_models(config, 2, 'float32'), config['model_params'], size)


@pytest.mark.parametrize('kind', [RuntimeError, OSError, MemoryError])  # OSError: of CUDA
def test_where_gpus_do_not_run_programs(kind, gpu, cache, monkeypatch, capsys):
    with pytest.raises(UserError, match='cudnn: has only fp32; for bf16 use --engine eager'):
        choose('cudnn', 'bf16')

    def fail(config, number):
        raise kind('no such\nGPU')

    monkeypatch.setattr(predictors, '_use_gpu', fail)
    assert choose('cudnn').name == 'eager'
    note = 'note: the eager engine is used: its compiler failed (no such GPU)\n'
    assert capsys.readouterr().err == note and entries(cache) == []
    monkeypatch.setattr(paddle.device, 'get_device', lambda: 'cpu')
    with pytest.raises(UserError, match='cudnn: runs on GPUs'):
        choose('cudnn')


@pytest.mark.parametrize('engine', ['eager', 'onednn'])
def test_demo(engine, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'demo.py'), '--cpu', '--engine', engine],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, '')
    assert (tmp_path / 'result.mp4').stat().st_size > 1000


def test_demo_refuses_unknown_engines(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--engine', 'steam'])
    with pytest.raises(UserError, match="invalid choice: 'steam'"):
        demo.parse_arguments()
