"""Gradients that keep less, and memory that is given back."""

import ctypes
import gc
import os
import subprocess
import sys
import textwrap

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn
from paddle.autograd import PyLayer

from modules.ops import onednn
from modules.ops import recomputing as memory
from modules.ops.convolution import conv2d, upsampled_conv2d
from modules.ops.predictors import Program, compile_program
from modules.runtime import heap as c_heap
from modules.runtime.process import num_threads
from modules.util import Conv2D, DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d
from tests.support.marks import needs_onednn
from tests.support.places import ROOT

MEGABYTE = 2**20


def allocated() -> int:
    gc.collect()  # what earlier tests have left is not to go in the midst of a later one
    return paddle.base.core.host_memory_stat_current_value('Allocated', 0)


def tensor(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype('float32')
    return paddle.to_tensor(values, stop_gradient=False)


def test_mean_over_samples_is_that_of_the_batch():
    fake, real = tensor(3, 2, 8, 8), tensor(3, 2, 8, 8, seed=1).detach()
    results = []
    for compute in (memory.mean_over_samples, lambda function, a, b: function(a, b)):
        fake.clear_gradient()
        value = compute(lambda a, b: ((a * a).exp() - b).abs().mean(), fake, real)
        (3 * value).backward()
        results.append((value.item(), fake.grad.numpy().copy()))
    (found, found_gradient), (wanted, wanted_gradient) = results
    assert found == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_allclose(found_gradient, wanted_gradient, rtol=1e-5)


class Bell(PyLayer):
    """exp(-x^2), which keeps its own result for backward, as VGG's layers do."""

    @staticmethod
    def forward(ctx, x):
        y = paddle.exp(-x * x)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensor()
        return -2 * x * y * dy


def test_mean_over_samples_keeps_the_gradient_alone():
    fake, real = tensor(4, 1, 256, 256), paddle.zeros([4, 1, 256, 256])
    before, held = allocated(), []

    def function(a, b):
        for _ in range(8):  # 512 kB that a sample would keep for backward, each time
            a = Bell.apply(a)
        held.append(allocated())
        return (a - b).abs().mean()

    value = memory.mean_over_samples(function, fake, real)
    assert held[0] - before > MEGABYTE
    assert allocated() - before < 1.5 * MEGABYTE  # the gradient is 1 MiB
    assert not value.stop_gradient


def test_nothing_is_differentiated_without_need():
    fake = tensor(2, 3)
    with paddle.no_grad():
        value = memory.mean_over_samples(lambda a, b: (a - b).abs().mean(), fake, fake.detach())
    assert value.stop_gradient
    assert fake.grad is None


def test_recomputed_gives_all_gradients_and_keeps_only_its_input():
    x, layer, calls = tensor(1, 1, 512, 512), nn.Conv2D(1, 1, 3, padding=1), []

    def function(x, weight, bias):
        calls.append(paddle.is_grad_enabled())
        return F.conv2d(paddle.exp(-x * x), weight, bias, padding=1)

    results = []
    for compute in (memory.recomputed, lambda function, *tensors: function(*tensors)):
        x.clear_gradient()
        layer.clear_gradients()
        y = 2 * x
        before = allocated()
        z = compute(function, y, layer.weight, layer.bias)
        kept = allocated() - before
        z.square().mean().backward()
        del z
        results.append([x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()])
        assert (kept < 1.5 * MEGABYTE) == (compute is memory.recomputed)  # the result is 1 MiB
    for found, wanted in zip(*results):
        np.testing.assert_array_equal(found, wanted)
    assert calls == [False, True, True]  # for the result, for the gradients; for both at once


@pytest.mark.parametrize('convolve', [conv2d, upsampled_conv2d])
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_convolution_keeps_how_to_make_its_image(convolve, dtype):
    x = paddle.to_tensor(tensor(1, 64, 128, 128).numpy(), dtype, stop_gradient=False)
    weight = paddle.to_tensor(tensor(128, 64, 3, 3).numpy(), dtype, stop_gradient=False)
    options = {'padding': 1} if convolve is conv2d else {}
    results, kept = [], []
    for compute in (memory.recomputed, lambda function, *tensors: function(*tensors)):
        x.clear_gradient(False)
        weight.clear_gradient(False)
        before = allocated()
        image = compute(paddle.sin, x)
        y = convolve(image, weight, **options)
        del image
        kept.append(
            (allocated() - before - y.size * y.element_size()) / (x.size * x.element_size())
        )
        y.square().mean().backward()
        del y
        results.append([x.grad.numpy(), weight.grad.numpy()])
    for found, wanted in zip(*results):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert kept[0] < 0.2 < 0.8 < kept[1], kept


def test_training_steps_leave_no_memory_behind():
    blocks = nn.Sequential(SameBlock2d(3, 8), ResBlock2d(8), UpBlock2d(8, 8), Conv2D(8, 3, 3, 1))
    held = []
    for _ in range(6):
        y = blocks(tensor(1, 3, 128, 128).detach())  # of eight channels: 512 kB
        y.square().mean().backward()
        del y
        blocks.clear_gradients(set_to_zero=False)
        held.append(allocated())
    assert held[-1] - held[1] < 2 * MEGABYTE  # what the first two make may stay


@pytest.mark.parametrize('trained', [True, False])
def test_the_statistics_of_a_norm_know_a_recomputed_batch_once(trained):
    paddle.seed(0)
    block = DownBlock2d(3, 4)
    x = tensor(2, 3, 8, 8)
    if not trained:
        for parameter in block.parameters():
            parameter.stop_gradient = True
    y = block.conv(x)
    mean = y.mean([0, 2, 3]).numpy()
    variance = y.transpose([1, 0, 2, 3]).flatten(1).var(1).numpy()  # the unbiased one
    block(x).sum().backward()
    np.testing.assert_allclose(block.norm._mean.numpy(), 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(block.norm._variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-5)
    assert x.grad is not None
    assert (block.norm.weight.grad is not None) == trained


@pytest.fixture
def heap():
    try:
        found = c_heap._Heap()
    except (AttributeError, OSError, TypeError):
        found = None
    if found is None or found._info is None:
        pytest.skip('the C library does not tell what is in use')
    return found


@pytest.mark.parametrize(
    'unit, steps',
    [
        (2**30, [(60, 69, 0), (60, 71, 1), (12, 69, 1), (12, 71, 2), (66, 76, 2)]),
        (2**20, [(60, 650, 0), (60, 661, 1), (12, 650, 1), (90, 680, 1), (90, 691, 2)]),
    ],
)
def test_freed_memory_goes_back_once_it_is_too_much(heap, monkeypatch, unit, steps):
    trims, now = [], {}

    def trim(pad):
        trims.append(pad)
        now['held'] = now['used']

    monkeypatch.setattr(c_heap, '_anonymous_bytes', lambda: heap._elsewhere + now['held'])
    monkeypatch.setattr(heap, '_used', lambda: now['used'])
    monkeypatch.setattr(heap, '_trim', trim)
    monkeypatch.setattr(c_heap, '_heap', heap)
    for used, held, trimmed in steps:
        now.update(used=used * unit, held=held * unit)
        c_heap.bound_freed_memory()
        assert len(trims) == trimmed, (used, held)


@pytest.fixture
def thresholds(monkeypatch):
    """What glibc is told to map: the values of its mallopt."""
    values = []

    class Libc:
        def mallopt(self, option, value):
            if option == -3:
                values.append(value)

    monkeypatch.setattr(c_heap.ctypes, 'CDLL', lambda name: Libc())
    monkeypatch.setattr(c_heap, '_heap', None)
    return values


def test_thresholds_of_training_are_not_those_of_animation(heap, thresholds, monkeypatch):
    with pytest.raises(ValueError, match='inside'), c_heap.large_tensors_mapped():
        raise ValueError('inside')
    assert thresholds == [2**20, 2**25]
    monkeypatch.setattr(c_heap, '_heap', heap)
    with c_heap.large_tensors_mapped():
        pass
    assert len(thresholds) == 2


def test_a_program_maps_its_weights_and_their_copies_alone(thresholds, tmp_path):
    """What runs free serves again: else each frame would take twice the time."""
    compile_program(nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU()), [[1, 3, 8, 8]], tmp_path)
    program = Program(tmp_path)
    assert thresholds == [2**20, 2**25]
    for _ in range(3):
        program.set(0, np.zeros([1, 3, 8, 8]))
        program.run()
    assert thresholds == 2 * [2**20, 2**25]


def test_what_trimming_does_not_give_back_is_not_trimmed_again(heap, monkeypatch):
    trims = []
    monkeypatch.setattr(c_heap, '_anonymous_bytes', lambda: 1000 * 2**20)
    monkeypatch.setattr(heap, '_used', lambda: 60 * 2**20)
    monkeypatch.setattr(heap, '_trim', trims.append)
    monkeypatch.setattr(heap, '_elsewhere', 100 * 2**20)
    for _ in range(3):
        heap.bound()
    assert len(trims) == 1


def test_freed_memory_is_kept_without_a_bound_by_an_older_glibc(heap, monkeypatch):
    monkeypatch.setattr(heap, '_info', None)
    monkeypatch.setattr(heap, '_trim', lambda pad: pytest.fail('trimmed'))
    heap.bound()


@needs_onednn
def test_onednn_keeps_no_copies(heap):
    """In a process of its own, as training is: predictors of an animation keep some shapes more."""
    program = """
        import paddle
        from modules.ops import onednn
        from modules.runtime.heap import _Heap

        heap = _Heap()
        x, weight = paddle.rand([1, 32, 256, 256]), paddle.rand([32, 32, 3, 3])  # x: 8 MiB

        def grown(convolutions):
            before = heap._used()
            for size in range(convolutions):
                onednn.conv2d(x[:, :, : 200 + size], weight, 1)
            return heap._used() - before

        grown(2)  # the first ones bring more than copies
        print(grown(16))
    """
    command = [sys.executable, '-c', textwrap.dedent(program)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 40 * MEGABYTE


@needs_onednn
def test_weights_of_a_program_are_copied_once(tmp_path):
    """Also of the process' first one, and after others have run."""
    program = """
        import sys
        from pathlib import Path

        import numpy as np
        from paddle import nn

        from modules.inference.folding import Kernel
        from modules.inference.layers import FixedConv
        from modules.ops.predictors import Program, compile_program

        programs = []
        for name in ('first', 'second'):
            folder = Path(sys.argv[1]) / name
            folder.mkdir()
            kernel = Kernel(np.ones([64, 64, 3, 3]), np.zeros([64]))
            layer = nn.Sequential(FixedConv(kernel, padding=1), nn.ReLU())
            compile_program(layer, [[1, 64, 16, 16]], folder)
            programs.append(Program(folder))
            programs[-1].set(0, np.ones([1, 64, 16, 16]))
        first, second = programs
        for program in (first, second, first, second):
            print('a run', flush=True)
            program.run()
    """
    command = [sys.executable, '-c', textwrap.dedent(program), str(tmp_path)]
    environment = {**os.environ, 'ONEDNN_VERBOSE': '1'}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    runs = done.stdout.split('a run')[1:]
    copies = [
        sum('exec,cpu,reorder' in line and '64x64x3x3' in line for line in run.splitlines())
        for run in runs
    ]
    assert copies == [1, 1, 0, 0]


@needs_onednn
def test_dropping_the_copies_leaves_the_threads():
    with open('/proc/self/maps') as maps:
        libraries = {line.split()[-1] for line in maps if 'libiomp5' in line}
    if not libraries:
        pytest.skip('another thread library')
    library = ctypes.CDLL(libraries.pop())
    paddle.base.core.set_num_threads(num_threads())
    before = library.omp_get_max_threads()
    onednn._copies.drop()
    assert library.omp_get_max_threads() == before
