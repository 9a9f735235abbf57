"""Checks of animation: compiled programs, low precision, and demo.py from files to files."""

import tempfile
from pathlib import Path
from typing import List, NamedTuple

import numpy as np
import paddle

from modules import record
from modules.engine import EagerEngine, Engine, build_engine
from modules.video import read_image
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.processes import run_python
from tools.gpu_checking.small import SEED, on_gpu, small_config, small_frames

# Compiled programs beside the networks: root mean square error over the values' own.
PROGRAM_BAR = 1e-4
# 8-bit frames of demo.py beside the CPU's: decibels that are missing to 100, levels of 255.
PSNR_WANTED, LEVELS = 45.0, 1


class Animated(NamedTuple):
    """What an engine makes of the small clip."""

    keypoints: np.ndarray  # (N, K, 2)
    deformed: np.ndarray  # (N, 3, H, W), the source warped: shows the motion alone
    predictions: np.ndarray  # (N, 3, H, W)


@paddle.no_grad()
def animated(engine: Engine) -> Animated:
    """The first frame of the small clips moves as each of the others."""
    source, driving = (frames.astype('float32') for frames in small_frames(small_config()))
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
    models = record.seeded_models(config, SEED, 'float32').eval()
    name = 'cudnn' if on_gpu() else 'onednn'
    eager = animated(EagerEngine(models))
    engine = build_engine(models, config['model_params'], size, name, explain=True)
    findings.holds(f'--engine {name} compiles', engine.name == name, engine.name)
    for part, found, wanted in zip(Animated._fields, animated(engine), eager):
        findings.at_most(part, relative_error(found, wanted), PROGRAM_BAR)


def demo(findings: Findings) -> None:
    """demo.py with its defaults on this device beside the eager engine on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        ours, wanted = Path(folder) / 'ours', Path(folder) / 'wanted'
        device = [] if on_gpu() else ['--cpu']
        run_python(['demo.py', '--result_video', str(ours), *device])
        run_python(['demo.py', '--result_video', str(wanted), '--cpu', '--engine', 'eager'])
        pairs = [(read_image(ours / path.name), read_image(path)) for path in _frames(wanted)]
    differences = np.stack([ours.astype(int) - wanted for ours, wanted in pairs])
    findings.fact('frames', len(pairs))
    findings.fact('largest difference in levels', int(np.abs(differences).max()))
    noise = float(np.square(differences).mean())
    psnr = float(10 * np.log10(255**2 / noise)) if noise else 100.0
    findings.holds(f'PSNR of at least {PSNR_WANTED:g} dB', psnr >= PSNR_WANTED, f'{psnr:.1f} dB')
    if not on_gpu():
        findings.at_most('levels between them', float(np.abs(differences).max()), LEVELS)


def _frames(folder: Path) -> List[Path]:
    return sorted(folder.glob('*.png'))
