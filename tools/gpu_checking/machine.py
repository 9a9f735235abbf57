"""Checks of the machine: what PaddlePaddle sees of it, and what is said where it sees no GPU."""

import os
import subprocess
import sys

import numpy as np
import paddle
import paddle.nn.functional as F

from modules.runtime import gpu
from tools.gpu_checking.findings import Findings, NotRunError
from tools.gpu_checking.running import ROOT
from tools.gpu_checking.small import on_device, on_gpu

_ASKED = ('name', 'driver_version', 'memory.total', 'compute_cap')
# Relative to the largest value: float32 rounds to 6e-8, TF32 to 5e-4 a factor.
TF32_BAR = 5e-6


def asked_driver() -> list[dict[str, str]]:
    """What NVIDIA's driver says of each GPU of the machine; nothing where there is none."""
    command = ['nvidia-smi', f'--query-gpu={",".join(_ASKED)}', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.strip().splitlines() if done.returncode == 0 else []
    return [dict(zip(_ASKED, (part.strip() for part in line.split(',')))) for line in lines]


def device(findings: Findings) -> None:
    """The GPUs as driver and PaddlePaddle see them; one sum on the one in use."""
    driver = asked_driver()
    if not on_gpu() and not driver:
        raise NotRunError(
            f'no NVIDIA driver; PaddlePaddle {paddle.__version__} computes on the CPU'
        )
    findings.fact('PaddlePaddle', f'{paddle.__version__}, commit {paddle.version.commit[:12]}')
    for number, card in enumerate(driver):
        findings.fact(f'GPU {number}', ', '.join(card.values()))
    built = paddle.is_compiled_with_cuda()
    findings.holds('PaddlePaddle is the GPU build (requirements.txt)', built)
    if not built:
        return
    findings.fact('the driver serves CUDA', '{}.{}'.format(*(gpu.driver_version() or ('none', ''))))
    for name, version in (('CUDA', paddle.version.cuda()), ('cuDNN', paddle.version.cudnn())):
        findings.fact(f'{name} it was built for', version)
    findings.fact('GPUs it sees', paddle.device.cuda.device_count())
    findings.holds('it chose a GPU', on_gpu(), paddle.device.get_device())
    if on_gpu():
        properties = paddle.device.cuda.get_device_properties()
        findings.fact('compute capability', f'{properties.major}.{properties.minor}')
        findings.fact('GB of memory', properties.total_memory / 1e9)
        values = np.arange(1000, dtype='float32')
        wrong = abs(paddle.to_tensor(values).sum().item() - values.sum())
        findings.at_most('a sum on it is off by', float(wrong), 0.0)


def archs(findings: Findings) -> None:
    """The wheel's architectures beside this GPU's; and the rule, with GPUs that are not here."""
    for capability, built, fits in (
        ((8, 0), [80], True),
        ((8, 9), [80, 86], True),
        ((8, 0), [86], False),
        ((12, 0), [80, 90], False),
        ((6, 1), [70, 80], False),
        ((9, 0), [], True),  # not known
    ):
        lack = gpu.lack_of_programs('a GPU', capability, built)
        answer = 'serve' if fits else 'do not serve'
        right = (lack is None) == fits
        findings.holds(f'programs for {built} {answer} {capability}', right, str(lack))
    if not on_gpu():
        return
    built, capability = paddle.version.cuda_archs(), paddle.device.cuda.get_device_capability()
    lack = gpu.lack_of_programs(paddle.device.cuda.get_device_name(), capability, built)
    findings.fact('programs for', ', '.join(map(str, built)) or 'not told')
    findings.holds("among them are this GPU's", lack is None, lack.message if lack else '')


def tf32(findings: Findings) -> None:
    """Products in float32: as they come, and once TF32 is switched off."""
    if not on_gpu():
        raise NotRunError('CPUs have no TF32')
    core = paddle.base.core
    for name, switched in (('cuDNN', core.get_cudnn_switch), ('cuBLAS', core.get_cublas_switch)):
        findings.fact(f'{name} may use TF32', bool(switched()))
    convolution, product = product_errors()
    findings.fact('a convolution is off by, as it comes', convolution)
    findings.at_most('a product of coordinates is off by, as it comes', product, TF32_BAR)
    gpu.switch_tf32_off()
    for name, error in zip(('convolution', 'matrix product'), product_errors()):
        findings.at_most(f'a {name} is off by, TF32 switched off', error, TF32_BAR)


def product_errors() -> tuple[float, float]:
    """Of a convolution and of a matrix product in float32, relative to the largest value."""
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 64, 16, 16)), rng.normal(size=(64, 64, 3, 3))
    left, right = rng.normal(size=(256, 64)), rng.normal(size=(64, 256))
    with on_device('cpu'):
        wanted = F.conv2d(paddle.to_tensor(image), paddle.to_tensor(kernel)).numpy(), left @ right
    image, kernel, left, right = (
        paddle.to_tensor(x.astype('float32')) for x in (image, kernel, left, right)
    )
    found = F.conv2d(image, kernel).numpy(), paddle.matmul(left, right).numpy()
    errors = [float(np.abs(f - w).max() / np.abs(w).max()) for f, w in zip(found, wanted)]
    return errors[0], errors[1]


def no_gpu(findings: Findings) -> None:
    """What is said where no GPU is seen; that none is seen with --cpu."""
    for visible, driver, said in (
        ('', (12, 6), 'CUDA_VISIBLE_DEVICES is empty'),
        ('-1', (12, 6), 'hides all'),
        (None, None, 'no NVIDIA driver'),
        (None, (11, 4), 'update the driver'),
        ('7', (12, 6), 'names none'),
    ):
        reason = gpu.why_no_gpu(visible, driver, '12.6')
        case = f'CUDA_VISIBLE_DEVICES={visible}, a driver for {driver}'
        findings.holds(f'{case}: the reason is told', said in reason, reason)
    built = paddle.is_compiled_with_cuda()
    for cpu in (False, True):
        option = '--cpu' if cpu else 'empty CUDA_VISIBLE_DEVICES'
        chosen, note = chosen_device(cpu)
        findings.holds(f'{option}: the CPU computes', chosen == 'cpu 0', chosen)
        wanted = built and not cpu
        told = 'CUDA_VISIBLE_DEVICES is empty' in note if wanted else not note
        what = 'a line tells why' if wanted else 'nothing is said'
        findings.holds(f'{option}: {what}', told, note)


def chosen_device(cpu: bool) -> tuple[str, str]:
    """What a process that sees no GPU, or is told not to, chooses and sees; what it says of it."""
    program = (
        'from modules.runtime.process import choose_device, prepare_process\n'
        f'prepare_process({cpu})\n'
        f'chosen = choose_device({cpu})\n'
        'import paddle\n'
        'built = paddle.is_compiled_with_cuda()\n'
        'print(chosen, paddle.device.cuda.device_count() if built else 0)\n'
    )
    environment = dict(os.environ) if cpu else {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    notes = [line for line in done.stderr.splitlines() if line.startswith('note:')]
    answer = done.stdout.strip().splitlines()
    return (answer[-1] if answer else f'status {done.returncode}'), ' '.join(notes)
