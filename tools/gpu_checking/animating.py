"""Checks of animation: compiled programs, and low precision in the eager engine."""

import time
from typing import NamedTuple

import numpy as np
import paddle

from modules.build import Models, build_models
from modules.config.loading import load_config
from modules.eager import EagerEngine, Engine
from modules.inference.choice import build_engine
from modules.ops.precision import DTYPES
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.precision import is_lacking, mixed_precision
from tools.gpu_checking.running import ROOT
from tools.gpu_checking.small import on_gpu, small_config, small_frames, small_models, without_tf32

PROGRAM_BAR, TF32_BAR = 1e-4, 5e-3  # of `relative_error`


class Animated(NamedTuple):
    """What an engine makes of the small clip."""

    keypoints: np.ndarray  # (N, K, 2)
    deformed: np.ndarray  # (N, 3, H, W), the source warped: shows the motion alone
    predictions: np.ndarray  # (N, 3, H, W)


# Of frames in low precision: `relative_error`, some times what emulation finds.
BARS: dict[str, dict[str, float]] = {
    'bf16': {'keypoints': 1e-5, 'deformed': 2e-3, 'predictions': 2e-2},
    'fp16': {'keypoints': 1e-5, 'deformed': 2e-4, 'predictions': 2e-3},
}


@paddle.no_grad()
def animated(engine: Engine) -> Animated:
    """The first frame of the small clips moves as each of the others."""
    source, driving = (frames.astype('float32') for frames in small_frames())
    image = paddle.to_tensor(source[:1])
    kp_source = engine.detect(image)
    encoded = engine.encode(image, kp_source)
    found = []
    for frame in (*source, *driving):
        kp = engine.detect(paddle.to_tensor(frame[None]))
        generated = engine.decode(encoded, kp, kp_source, with_deformed=True)
        found.append((kp.value, generated.deformed, generated.prediction))
    parts = (np.concatenate([tensor.numpy() for tensor in part]) for part in zip(*found))
    return Animated(*parts)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over that of the values."""
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))


def programs(findings: Findings) -> None:
    """--engine cudnn on GPUs, onednn on CPUs, beside the networks."""
    config = small_config()
    size = config['dataset_params']['frame_shape'][:2]
    models = small_models().eval()
    name = 'cudnn' if on_gpu() else 'onednn'
    engine = build_engine(models, config['model_params'], size, name, explain=True)
    findings.holds(f'--engine {name} compiles', engine.name == name, engine.name)
    if on_gpu():
        _compare(findings, 'TF32 as it comes, ', engine, models, TF32_BAR)
        _tell_speed(findings, name, 'fp32')
    without_tf32()
    _compare(findings, '', engine, models, PROGRAM_BAR)


def _compare(findings: Findings, how: str, engine: Engine, models: Models, bar: float) -> None:
    parts = zip(Animated._fields, animated(engine), animated(EagerEngine(models)))
    for part, found, wanted in parts:
        findings.at_most(f'{how}{part}', relative_error(found, wanted), bar)


def animation(findings: Findings) -> None:
    """The eager engine in bf16 and fp16 beside fp32: on the CPU by emulation.

    Keypoints are found in float32 whatever the precision, and so is the motion between them.
    """
    for precision in ('fp32', *BARS) if on_gpu() else ():
        _tell_speed(findings, 'eager', precision)
    without_tf32()
    models = small_models().eval()
    wanted = animated(EagerEngine(models))
    for precision, bars in BARS.items():
        if is_lacking(precision):
            findings.fact(precision, 'not run: this GPU lacks it')
            continue
        with mixed_precision():
            found = animated(EagerEngine(models, DTYPES[precision]))
        for part, bar in bars.items():
            error = relative_error(getattr(found, part), getattr(wanted, part))
            findings.at_most(f'{precision}: {part}', error, bar)


@paddle.no_grad()
def _tell_speed(findings: Findings, name: str, precision: str) -> None:
    """Frames of config/vox-256.yaml a second, TF32 as it comes; on a GPU."""
    if is_lacking(precision):
        return
    config = load_config(ROOT / 'config' / 'vox-256.yaml')
    params = config['model_params']
    engine = build_engine(build_models(config), params, (256, 256), name, precision)
    image = paddle.rand([1, 3, 256, 256])
    kp = engine.detect(image)
    source = engine.encode(image, kp)
    for frames in (3, 30):  # the first ones warm up
        start = time.perf_counter()
        for _ in range(frames):
            engine.decode(source, engine.detect(image), kp).prediction.numpy()
        seconds = time.perf_counter() - start
    findings.fact(f'{engine.name}, {precision}: frames a second of vox-256', frames / seconds)
