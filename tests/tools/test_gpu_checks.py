"""The checks of tools/gpu_check.py: each passes on the CPU, and fails when its subject breaks."""

import contextlib
import itertools

import paddle
import paddle.nn.functional as F
import pytest
import yaml

from modules.eager import EagerEngine
from modules.inference.engine import CompiledEngine
from modules.ops import batch_norm, blocks, sampling
from modules.ops import precision as policy
from modules.runtime import gpu, shortage
from modules.training.loss_scaler import LossScaler
from modules.training.trainer import Trainer
from tools.gpu_checking import agreement, doors, memory, small, worker
from tools.gpu_checking.findings import FAIL, OK


def run(name):
    return worker.run_here(name, paddle.device.get_device())


@pytest.fixture(autouse=True)
def smaller(monkeypatch, tmp_path):
    """The small networks without VGG and with one scale of everything; memory, too, by them."""
    config = small.small_config()
    config['train_params'].update(scales=[1])
    config['train_params']['loss_weights'].update(perceptual=[0] * 5, pixel=10)
    config['model_params']['discriminator_params']['scales'] = [1]
    (tmp_path / 'smaller.yaml').write_text(yaml.safe_dump(config))
    monkeypatch.setattr(small, 'CONFIG', tmp_path / 'smaller.yaml')
    monkeypatch.setattr(memory, 'CONFIG', tmp_path / 'smaller.yaml')
    monkeypatch.setattr(memory, 'KEPT_BAR', 0.0066)


# --- what breaks the subject of a check ----------------------------------------------------------


def after(monkeypatch, owner, name, change):
    """Has what a function returns changed."""
    function = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(function(*args, **kwargs)))


def break_samples(monkeypatch):
    """Warps, by the way that CPUs go."""
    after(monkeypatch, sampling, '_sample_pixels', lambda y: 1.0001 * y)


def break_upsampling(monkeypatch):
    """Convolutions of doubled images, likewise."""
    after(monkeypatch, blocks, 'upsampled_conv2d', lambda y: 1.001 * y)


def break_variance(monkeypatch):
    """The running variance of Paddle's CPU kernel: the biased one."""
    update = batch_norm.update_statistics

    def biased(norm, mean, variance, count):
        update(norm, mean, variance * ((count - 1) / count), count)

    monkeypatch.setattr(batch_norm, 'update_statistics', biased)


def break_repeatability(monkeypatch):
    """Every convolution differs a little from the one before."""
    calls = itertools.count()
    after(monkeypatch, blocks, 'conv2d', lambda y: y * (1 + 1e-6 * next(calls)))


def break_load_state(monkeypatch):
    monkeypatch.setattr(Trainer, 'load_state', lambda self, tensors, meta: [])


def break_float32_ops(monkeypatch):
    """The name that the function has, and autocast does not know."""
    monkeypatch.setattr(policy, 'FLOAT32_OPS', policy.FLOAT32_OPS - {'matmul_v2'} | {'matmul'})


def break_bias(monkeypatch):
    """A float32 bias, which makes results float32 again."""

    def conv2d(x, weight, bias=None, padding=0):
        return F.conv2d(x, weight, bias, padding=padding)

    monkeypatch.setattr(blocks, 'conv2d', conv2d)


def break_heads(monkeypatch):
    """Heads of the keypoint detector in low precision."""
    monkeypatch.setattr('modules.keypoint_detector.full_precision', contextlib.nullcontext)


def break_scaler(monkeypatch):
    """Overflows that nobody sees."""
    after(monkeypatch, LossScaler, 'unscale', lambda finite: True)


def break_low_precision(monkeypatch):
    """Convolutions that are wrong in low precision."""
    after(monkeypatch, blocks, 'conv2d', lambda y: y if y.dtype == paddle.float32 else y.abs())


def break_detection(monkeypatch):
    """Keypoints of animations in low precision."""

    def detect(self, image):
        with policy.autocast(self.dtype):
            return self.models.kp_detector(image)

    monkeypatch.setattr(EagerEngine, 'detect', detect)
    break_heads(monkeypatch)  # else the detector itself would stay in float32


def break_programs(monkeypatch):
    """Programs that, once they were found right, compute something else."""
    after(
        monkeypatch,
        CompiledEngine,
        'decode',
        lambda generated: generated._replace(prediction=0.999 * generated.prediction),
    )


def break_memory(monkeypatch):
    """Convolutions that keep their result twice more."""
    after(monkeypatch, blocks, 'conv2d', lambda y: (y + 1) * (y + 2))


def break_archs(monkeypatch):
    """Programs of a later minor version taken for good."""
    monkeypatch.setattr(gpu, 'lack_of_programs', lambda name, capability, archs: None)


def break_reasons(monkeypatch):
    """No reason why there is no GPU."""
    after(monkeypatch, gpu, 'why_no_gpu', lambda reason: 'who knows')


def break_inverse(monkeypatch):
    """A singular matrix that is divided by its determinant."""
    wrong = lambda y: y / (y - y)  # noqa: E731
    after(monkeypatch, agreement, 'inverse_2x2', lambda y: wrong(y) if len(y.shape) == 3 else y)


def break_shortage(monkeypatch):
    """A lack of memory that is not known for one."""
    after(monkeypatch, shortage, 'memory_shortage', lambda words: None)


BROKEN = [
    ('archs', break_archs),
    ('inverse', break_inverse),
    ('out_of_memory', break_shortage),
    ('no_gpu', break_reasons),
    ('float64', break_samples),
    ('float32', break_upsampling),
    ('batch_norm', break_variance),
    ('repeat', break_repeatability),
    ('adam_resume', break_load_state),
    ('amp_bf16', break_heads),
    ('amp_bf16', break_bias),
    ('amp_fp16', break_float32_ops),
    ('overflow', break_scaler),
    ('learning', break_low_precision),
    ('animation', break_detection),
    ('programs', break_programs),
    ('memory', break_memory),
]
HERE = list(dict.fromkeys(name for name, _ in BROKEN))


@pytest.mark.parametrize('name', HERE)
def test_checks_pass_on_the_cpu(name):
    outcome = run(name)
    assert (outcome.status, outcome.device) == (OK, 'cpu'), outcome
    assert outcome.rows and 'not so' not in outcome.line


@pytest.mark.parametrize(('name', 'break_subject'), BROKEN)
def test_a_check_fails_when_its_subject_is_broken(name, break_subject, monkeypatch):
    break_subject(monkeypatch)
    outcome = run(name)
    assert outcome.status == FAIL, outcome
    assert not outcome.log, outcome.log  # it has found it, not stumbled over it


# --- checks that run the scripts, whose processes are broken from without ------------------------

# Of every Python process: as soon as a module is there, something in it is replaced.
BREAKER = """
import builtins, sys

importing = builtins.__import__

def import_and_break(*args, **kwargs):
    module = importing(*args, **kwargs)
    owner = sys.modules.get({module!r})
    if owner is not None and hasattr(owner, {name!r}):
        builtins.__import__ = importing
        {change}
    return module

builtins.__import__ = import_and_break
"""


BROKEN_SCRIPTS = {
    'processes': (
        ('modules.runtime.distributed', 'average_gradients'),
        'owner.average_gradients = lambda parameters: None',
        'two processes on the CPU: loss',
    ),
    'demo': (
        ('modules.inference.engine', 'CompiledEngine'),
        'decode = owner.CompiledEngine.decode; owner.CompiledEngine.decode = lambda *args: '
        '(lambda found: found._replace(prediction=0.9 * found.prediction))(decode(*args))',
        'PSNR',
    ),
    'train': (
        ('modules.training.trainer', 'Trainer'),
        'owner.Trainer.load_state = lambda self, tensors, meta: []',
        'ends as a run that ran through',
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('broken', [False, True])
@pytest.mark.parametrize('name', list(BROKEN_SCRIPTS))
def test_checks_of_scripts(name, broken, tmp_path, monkeypatch):
    (module, owner), change, said = BROKEN_SCRIPTS[name]
    if broken:
        breaker = BREAKER.format(module=module, name=owner, change=change)
        (tmp_path / 'sitecustomize.py').write_text(breaker)
        monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setattr(doors, 'EPOCHS', 2)
    outcome = run(name)
    assert outcome.status == (FAIL if broken else OK), outcome
    assert not outcome.log and (said in outcome.line or not broken)
