"""tools/gpu_check.py: every check passes on the CPU, and fails when its subject is broken."""

import contextlib
import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import yaml
from conftest import ROOT, needs_onednn

from modules import distributed, sampling, util
from modules.cli import UserError
from modules.engine import CompiledEngine, EagerEngine
from modules.ops import precision as policy
from modules.trainer import Trainer
from modules.training.loss_scaler import LossScaler
from tools.gpu_checking import doors, machine, memory, precision, small, training, worker
from tools.gpu_checking.catalogue import CATALOGUE, Entry, chosen
from tools.gpu_checking.findings import FAIL, NOT_RUN, OK, Findings, Outcome, outcome_of
from tools.gpu_checking.report import page
from tools.gpu_checking.running import run_check


def run(name):
    return worker.run_here(name, paddle.device.get_device())


def scaled(function, factor):
    """The function with its result (or its first one) multiplied."""

    def wrong(*args, **kwargs):
        result = function(*args, **kwargs)
        return result * factor

    return wrong


# --- what breaks the subject of each check -------------------------------------------------------


def break_doubled(monkeypatch):
    """A convolution of a doubled image, by the way that CPUs go."""
    monkeypatch.setattr(util.Conv2D, 'forward_doubled', scaled(util.Conv2D.forward_doubled, 1.001))


def break_samples(monkeypatch):
    monkeypatch.setattr(sampling, '_sample_pixels', scaled(sampling._sample_pixels, 1.0001))


def break_variance(monkeypatch):
    """The running variance of Paddle's CPU kernel, the biased one."""

    def biased(self, mean, variance, count):
        self._mean.scale_(0.9).add_(mean * 0.1)
        self._variance.scale_(0.9).add_(variance * 0.1)

    monkeypatch.setattr(util.BatchNorm2D, 'update_statistics', paddle.no_grad()(biased))


def break_repeatability(monkeypatch):
    """Every call of a convolution differs a little from the one before."""
    forward, calls = util.Conv2D.forward, itertools.count()

    def wrong(self, *args, **kwargs):
        return forward(self, *args, **kwargs) + 1e-6 * next(calls)

    monkeypatch.setattr(util.Conv2D, 'forward', wrong)


def break_load_state(monkeypatch):
    monkeypatch.setattr(Trainer, 'load_state', lambda self, tensors, meta: [])


def break_float32_ops(monkeypatch):
    """The name that Paddle's function has and autocast does not know."""
    monkeypatch.setattr(policy, 'FLOAT32_OPS', policy.FLOAT32_OPS - {'matmul_v2'} | {'matmul'})


def break_bias(monkeypatch):
    """A float32 bias, which makes results float32 again."""
    monkeypatch.setattr(util, 'conv2d', lambda x, w, b=None, padding=0: F.conv2d(x, w, b, 1, padding))


def break_heads(monkeypatch):
    """Keypoint heads in low precision."""
    from modules import keypoint_detector

    monkeypatch.setattr(keypoint_detector, 'full_precision', contextlib.nullcontext)


def break_scaler(monkeypatch):
    """Overflows are not seen."""
    unscale = LossScaler.unscale
    monkeypatch.setattr(LossScaler, 'unscale', lambda self, g: unscale(self, g) or True)


def break_learning(monkeypatch):
    """Convolutions that are wrong in low precision."""
    convolve = util.conv2d

    def wrong(*args):
        y = convolve(*args)
        return y if y.dtype == paddle.float32 else 1.5 * y

    monkeypatch.setattr(util, 'conv2d', wrong)


def break_programs(monkeypatch):
    """Programs that, once they were found right, compute something else."""
    decode = CompiledEngine.decode

    def wrong(*args, **kwargs):
        generated = decode(*args, **kwargs)
        return generated._replace(prediction=0.999 * generated.prediction)

    monkeypatch.setattr(CompiledEngine, 'decode', wrong)


def break_animation(monkeypatch):
    """Keypoints found in low precision, too."""

    def detect(self, image):
        with self._precision():
            return self.models.kp_detector(image)

    monkeypatch.setattr(EagerEngine, 'detect', detect)


def break_memory(monkeypatch):
    """Convolutions that keep their result a second time."""
    forward = util.Conv2D.forward

    def wasteful(self, *args, **kwargs):
        y = forward(self, *args, **kwargs)
        return (y + 1) * (y + 2) / (y + 2) - 1

    monkeypatch.setattr(util.Conv2D, 'forward', wasteful)


BROKEN = [
    ('float64', break_samples),
    ('float32', break_doubled),
    ('batch_norm', break_variance),
    ('repeat', break_repeatability),
    ('adam_resume', break_load_state),
    ('amp_bf16', break_heads),
    ('amp_bf16', break_bias),
    ('amp_fp16', break_float32_ops),
    ('overflow', break_scaler),
    ('learning', break_learning),
    ('animation', break_animation),
    ('programs', break_programs),
    ('memory', break_memory),
]
HERE = list(dict.fromkeys(name for name, _ in BROKEN))


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


@pytest.mark.parametrize('name', HERE)
def test_checks_pass_on_the_cpu(name):
    outcome = run(name)
    assert (outcome.status, outcome.device) == (OK, 'cpu'), outcome
    assert outcome.rows and 'not so' not in outcome.line


@pytest.mark.parametrize(('name', 'break_subject'), BROKEN)
def test_a_check_fails_when_its_subject_is_broken(name, break_subject, monkeypatch):
    break_subject(monkeypatch)
    outcome = run(name)
    assert outcome.status == FAIL and not outcome.log, outcome
    print(name, break_subject.__name__, outcome.line)
