"""Checks of the machine: what PaddlePaddle sees of it, and what is said where it sees no GPU."""

import subprocess
from typing import Dict, List

import numpy as np
import paddle

from tools.gpu_checking.findings import Findings, NotRun
from tools.gpu_checking.small import on_gpu

_ASKED = ('name', 'driver_version', 'memory.total', 'compute_cap')


def asked_driver() -> List[Dict[str, str]]:
    """What NVIDIA's driver says of each GPU of the machine; nothing where there is none."""
    query = f'--query-gpu={",".join(_ASKED)}'
    try:
        done = subprocess.run(
            ['nvidia-smi', query, '--format=csv,noheader'],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.strip().splitlines() if done.returncode == 0 else []
    return [dict(zip(_ASKED, (part.strip() for part in line.split(',')))) for line in lines]


def device(findings: Findings) -> None:
    """The GPUs as driver and PaddlePaddle see them; one sum on the one in use."""
    driver = asked_driver()
    built = paddle.is_compiled_with_cuda()
    if not on_gpu() and not driver:
        raise NotRun(f'no NVIDIA driver; PaddlePaddle {paddle.__version__} computes on the CPU')
    findings.fact('PaddlePaddle', f'{paddle.__version__}, commit {paddle.version.commit[:12]}')
    for number, gpu in enumerate(driver):
        findings.fact(f'GPU {number}', ', '.join(gpu.values()))
    findings.holds('PaddlePaddle is the GPU build (requirements.txt)', built)
    if not built:
        return
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
