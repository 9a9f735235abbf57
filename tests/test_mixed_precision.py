"""Mixed precision: what is computed in which, as on a GPU (emulated), and who is refused it."""

import warnings

import numpy as np
import paddle
import pytest
from PIL import Image

from modules.build import build_models
from modules.checkpoints.models import load_checkpoint
from modules.config import load_config
from modules.dense_motion import DenseMotionNetwork
from modules.eager import EagerEngine
from modules.inference.choice import build_engine
from modules.model import TrainingLosses
from modules.ops import precision
from modules.runtime.errors import UserError
from modules.training.setup import check_amp
from modules.training.trainer import Trainer
from modules.util import AntiAliasInterpolation2d
from modules.vgg import Vgg19
from modules.video import VideoReader, read_image
from tests.support.places import ROOT
from tests.support.tiny import tiny_config
from tests.support.training_runs import run, write_clips, write_config
from tools.gpu_checking.emulated_amp import AMP_NAMES, emulated_amp


def images(count=2, size=32, seed=0):
    arrays = np.random.RandomState(seed).rand(2, count, 3, size, size).astype('float32')
    return tuple(map(paddle.to_tensor, arrays))


def dtype_of(tensor):
    return tensor.dtype.name.lower()


def note_outputs(networks):
    """The dtypes of each layer's results by name, as they come from now on."""
    found = {}
    for network_name, network in networks.items():
        for name, layer in network.named_sublayers():

            def note(layer, inputs, output, name=f'{network_name}.{name}'):
                if isinstance(output, paddle.Tensor):
                    found.setdefault(name, set()).add(dtype_of(output))

            layer.register_forward_post_hook(note)
    return found


# --- the policy ---


def test_operations_have_the_names_by_which_autocast_knows_them():
    """Paddle counts its operations under these names, if asked to."""
    image, matrix = paddle.rand([1, 3, 4, 4]), paddle.rand([1, 2, 2])
    grid = paddle.rand([1, 4, 4, 2])
    paddle.base.core.clear_low_precision_op_list()
    paddle.set_flags({'FLAGS_low_precision_op_list': 1})
    try:
        names = {}
        for function, call in {
            'grid_sample': lambda: paddle.nn.functional.grid_sample(image, grid),
            'matmul': lambda: matrix @ matrix,
            'sigmoid': lambda: paddle.nn.functional.sigmoid(image),
            'sum': lambda: image.sum(),
            'mean': lambda: image.mean(),
            'mean_all': lambda: paddle._C_ops.mean_all(image),
        }.items():
            call()
            (names[function],) = paddle.base.core.get_low_precision_op_list()
            paddle.base.core.clear_low_precision_op_list()
    finally:
        paddle.set_flags({'FLAGS_low_precision_op_list': 0})
    assert set(names.values()) >= precision.FLOAT32_OPS
    assert names == {function: AMP_NAMES.get(function, function) for function in names}


def test_the_emulation_is_only_there_while_it_is_wanted():
    image, weight = paddle.rand([1, 3, 4, 4]), paddle.rand([2, 3, 3, 3])
    add, convolve = paddle.Tensor.__add__, paddle._C_ops.conv2d

    def convolution():
        with precision.autocast('bfloat16'):
            return paddle.nn.functional.conv2d(image, weight)

    exact = convolution()
    with emulated_amp() as counts:
        low = convolution()
        assert dtype_of(low) == 'bfloat16' and dtype_of(low + low) == 'bfloat16'
        assert dtype_of(low + exact) == 'float32'
        assert dtype_of(paddle.nn.functional.conv2d(image, weight)) == 'float32'
        error = np.abs(low.astype('float32').numpy() - exact.numpy())
        assert 1e-4 < error.max() < 2**-7 * np.abs(exact.numpy()).max()
    assert counts['conv2d'] == {'bfloat16': 1, 'float16': 0, 'float32': 0}
    assert counts['elementwise_add'] == {'bfloat16': 1, 'float16': 0, 'float32': 1}
    assert dtype_of(convolution()) == 'float32'
    assert paddle.Tensor.__add__ is add and paddle._C_ops.conv2d is convolve


@pytest.mark.parametrize('low, amp', [('bfloat16', 'bf16'), ('float16', 'fp16')])
def test_convolutions_and_what_follows_are_low_and_coordinates_are_not(low, amp):
    """A bias or an occlusion map in float32 would make all that follows float32 again."""
    config = tiny_config({'perceptual': [1, 1, 1, 1, 1]}, amp=amp)
    vgg = Vgg19()
    vgg.seed()
    with emulated_amp() as counts:
        trainer = Trainer(config, build_models(config), TrainingLosses(config, vgg))
        found = note_outputs({**trainer.models._asdict(), 'vgg': vgg})
        result = trainer.step(*images(4))
    heads = ('.mask', '.occlusion', '.down')
    others = {  # they hold an image beside features, or have the precision of their weights
        'generator.dense_motion_network.hourglass.decoder',
        'generator.dense_motion_network.hourglass',
        'discriminator.discs.1.down_blocks.1.norm',
        'discriminator.discs.1.down_blocks.1',
    }
    for name, dtypes in found.items():
        exact = name.startswith('kp_detector.') or name.endswith(heads) or name in others
        wanted = 'float32' if exact else low
        assert dtypes == {wanted}, name
    assert len(found) > 35
    for name in ('conv2d', 'batch_norm', 'pool2d'):
        assert counts[name][low] > 10 and counts[name]['float32'] == 0, name
    for name in ('grid_sampler', 'sigmoid', 'softmax', 'exp', 'matmul_v2'):
        assert counts.get(name, {}).get(low, 0) == 0, name
    assert counts['matmul_v2']['float32'] > 20 and counts['grid_sampler']['float32'] == 4
    tensors = [*result.losses.values(), *result.last.kp_driving, *result.last.generated]
    assert {dtype_of(tensor) for tensor in tensors} == {'float32'}


@pytest.mark.parametrize('channels', [1, 3])
def test_frames_are_blurred_in_float32(channels):
    """A depthwise convolution of a single channel is one as any other to Paddle."""
    blur = AntiAliasInterpolation2d(channels, 0.5)
    image = paddle.rand([1, channels, 16, 16])
    with emulated_amp(), precision.autocast('bfloat16'):
        found = blur(image)
    assert dtype_of(found) == 'float32' and (found == blur(image)).all()


# --- coordinates ---


@pytest.fixture(scope='module')
def demo():
    """The bundled networks, which know where things are, and two frames."""
    config = load_config(ROOT / 'config' / 'demo-adv-128.yaml')
    models = build_models(config)
    path = ROOT / 'doc' / 'demo' / 'demo-128.safetensors'
    load_checkpoint(path, generator=models.generator, kp_detector=models.kp_detector)
    source = read_image(ROOT / 'doc' / 'demo' / 'source.png')
    frame = next(iter(VideoReader(ROOT / 'doc' / 'demo' / 'driving.mp4')))
    frames = [np.asarray(Image.fromarray(image).resize((128, 128))) for image in (source, frame)]
    return models.eval(), *(
        paddle.to_tensor(image.transpose(2, 0, 1)[None].astype('float32') / 255) for image in frames
    )


def pixels(found, expected):
    """The largest distance of coordinates, in pixels of a frame of 128."""
    return np.linalg.norm(found.numpy() - expected.numpy(), axis=-1).max() * 127 / 2


def noted_results(monkeypatch, owner, name):
    """The list to which each call of a method adds its result."""
    method, results = getattr(owner, name), []
    monkeypatch.setattr(owner, name, lambda *args: results.append(method(*args)) or results[-1])
    return results


@paddle.no_grad()
def test_low_precision_moves_no_keypoint(demo):
    models, _, driving = demo
    expected = models.kp_detector(driving)
    with emulated_amp(), precision.autocast('bfloat16'):
        found = models.kp_detector(driving)
    assert pixels(found.value, expected.value) < 1e-3
    assert np.abs(found.jacobian.numpy() - expected.jacobian.numpy()).max() < 1e-4


@pytest.mark.parametrize('low, deformation, psnr', [('bfloat16', 0.01, 55), ('float16', 2e-3, 75)])
@paddle.no_grad()
def test_animation_in_low_precision(demo, monkeypatch, low, deformation, psnr):
    """Sparse motions are those of float32; where motions meet, masks in low precision differ."""
    models, source, driving = demo
    sparse = noted_results(monkeypatch, DenseMotionNetwork, 'sparse_motions')
    dense = noted_results(monkeypatch, DenseMotionNetwork, 'forward')
    reference = EagerEngine(models)
    kp_source, kp_driving = reference.detect(source), reference.detect(driving)
    expected = reference.decode(reference.encode(source, kp_source), kp_driving, kp_source)
    with emulated_amp():
        engine = EagerEngine(models, low)
        assert pixels(engine.detect(driving).value, kp_driving.value) < 1e-3
        encoded = engine.encode(source, kp_source)
        assert dtype_of(encoded.features) == low and dtype_of(encoded.reduced) == 'float32'
        found = engine.decode(encoded, kp_driving, kp_source, with_deformed=True)
    assert pixels(sparse[1], sparse[0]) < 1e-4
    theirs, ours = (motion.deformation.numpy() for motion in dense)
    assert np.linalg.norm(ours - theirs, axis=-1).mean() * 127 / 2 < deformation
    error = found.prediction.numpy() - expected.prediction.numpy()
    assert -10 * np.log10(np.square(error).mean()) > psnr
    assert {dtype_of(part) for part in found} == {'float32'}


# --- who is refused it ---


@pytest.mark.parametrize(
    'asked, capability, message',
    [
        ('bf16', (7, 5), 'amp: bf16 needs a GPU of compute capability 8.0 or higher, and this one '
         'has 7.5; use fp16 or fp32'),
        ('bf16', (6, 1), 'amp: bf16 needs a GPU of compute capability 8.0 or higher, and this one '
         'has 6.1; use fp32'),
        ('fp16', (6, 1), 'amp: fp16 needs a GPU of compute capability 7.0 or higher, and this one '
         'has 6.1; use fp32'),
        ('bf16', (8, 0), None),
        ('fp16', (7, 0), None),
        ('fp32', (3, 5), None),
        (None, (3, 5), None),
        ('bf16', None, None),
    ],
)  # fmt: skip
def test_capability(asked, capability, message):
    if message is None:
        precision.check_capability('amp', asked, capability)
    else:
        with pytest.raises(UserError) as raised:
            precision.check_capability('amp', asked, capability)
        assert str(raised.value) == message


def test_commands_refuse_before_they_begin(monkeypatch):
    monkeypatch.setattr(paddle.device, 'get_device', lambda: 'gpu:0')
    monkeypatch.setattr(paddle.device.cuda, 'get_device_capability', lambda: (7, 5))
    with pytest.raises(UserError, match='amp: bf16 needs a GPU'):
        check_amp('bf16')
    check_amp('fp16')
    check_amp(None)
    with pytest.raises(UserError, match='--precision: bf16 needs a GPU'):
        build_engine(None, {}, (64, 64), 'eager', 'bf16')


def test_on_the_cpu_one_line_says_that_fp16_has_no_effect(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # Paddle's
        with precision.autocast('bfloat16'), precision.full_precision():
            pass
    data = write_clips(tmp_path / 'data')
    for name, amp in (('plain', None), ('low', 'fp16')):
        config = write_config(tmp_path / f'{name}.yaml', data, amp=amp, num_epochs=1)
        _, err = run('--config', config, '--save_dir', tmp_path / name)
        assert err == ('' if amp is None else 'note: amp: fp16 has no effect on this CPU\n')
    plain, low = ((tmp_path / name / 'log.txt').read_text() for name in ('plain', 'low'))
    assert plain == low
