"""Checks of the scripts, run as users run them."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from modules.checkpoints.places import find_checkpoints
from modules.checkpoints.reading import read_checkpoint
from modules.training.run_folder import newest_checkpoint
from modules.video.pictures import read_image
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.precision import is_lacking
from tools.gpu_checking.processes import run_python
from tools.gpu_checking.running import ROOT
from tools.gpu_checking.small import Arrays, differing, on_gpu, small_config, small_frames

PSNR_WANTED, LEVELS = 45.0, 1  # of demo.py's 8-bit frames: decibels, and levels of 255 on the CPU
CLIPS, EPOCHS = 8, 4


def demo(findings: Findings) -> None:
    """demo.py with its defaults on this device beside the eager engine on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        ours, wanted = Path(folder) / 'ours', Path(folder) / 'wanted'
        run_python(['demo.py', '--result_video', str(ours), *on_this_device()])
        run_python(['demo.py', '--result_video', str(wanted), '--cpu', '--engine', 'eager'])
        names = sorted(path.name for path in wanted.glob('*.png'))
        frames = [np.stack([read_image(place / n) for n in names]) for place in (ours, wanted)]
    differences = frames[0].astype(int) - frames[1]
    largest, noise = int(np.abs(differences).max()), float(np.square(differences).mean())
    psnr = float(10 * np.log10(255**2 / noise)) if noise else float('inf')
    findings.fact('frames', len(names))
    findings.holds(f'PSNR of at least {PSNR_WANTED:g} dB', psnr >= PSNR_WANTED, f'{psnr:.1f} dB')
    if on_gpu():
        findings.fact('largest difference in levels', largest)
    else:
        findings.at_most('largest difference in levels', largest, LEVELS)


def train(findings: Findings) -> None:
    """train.py stopped by a signal and resumed, in each precision that the device has.

    On the CPU it ends with the weights of a run that ran through.
    """
    low = [name for name in ('bf16', 'fp16') if on_gpu() and not is_lacking(name)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / 'clips')
        for precision in (None, *low):
            run = folder / f'run {precision}'
            config = write_config(folder, precision)
            _stop_and_resume(findings, config, run, precision or 'fp32')
            if on_gpu():
                continue
            whole = folder / 'whole'
            run_python(train_arguments(config, whole))
            different = differing(*(last_arrays(place) for place in (run, whole)))
            findings.holds('ends as a run that ran through', not different, str(different[:3]))


def _stop_and_resume(findings: Findings, config: Path, run: Path, name: str) -> None:
    process = subprocess.Popen(
        [sys.executable, *train_arguments(config, run)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and not find_checkpoints(run):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    told = 128 + signal.SIGTERM
    findings.holds(f'{name}: stops when told to', process.returncode == told, said[-300:])
    run_python(train_arguments(config, run, '--resume'))
    epochs = (run / 'log.txt').read_text().splitlines()
    findings.holds(f'{name}: resumes', len(epochs) == EPOCHS, f'{len(epochs)} epochs')


def last_arrays(run: Path) -> Arrays:
    """All weights, statistics and optimizers' tensors of a run's last checkpoint."""
    checkpoint = read_checkpoint(newest_checkpoint(run), training_state=True)
    networks = {
        f'{name}.{key}': array
        for name, state in checkpoint.networks.items()
        for key, array in state.items()
    }
    return {**networks, **checkpoint.tensors}


def on_this_device() -> list[str]:
    """The option that keeps a script on this device."""
    return [] if on_gpu() else ['--cpu']


def train_arguments(config: Path, run: Path, *more: str) -> list[str]:
    options = ['--config', str(config), '--save_dir', str(run), *more, *on_this_device()]
    return [str(ROOT / 'train.py'), *options]


def write_config(folder: Path, amp: str | None) -> Path:
    """The small config for the clips in `folder`."""
    config = small_config(amp=amp, num_epochs=EPOCHS, num_workers=1, keep_checkpoints=99)
    config['dataset_params']['root_dir'] = str(folder / 'clips')
    config['train_params']['loss_weights'].update(perceptual=[0] * 5, pixel=10)
    path = folder / f'config {amp}.yaml'
    path.write_text(yaml.safe_dump(config), encoding='utf-8')
    return path


def write_clips(folder: Path) -> None:
    """Clips of two frames as folders of pictures."""
    frames = np.stack(small_frames(CLIPS), axis=1).transpose([0, 1, 3, 4, 2])
    for number, clip in enumerate((255 * frames).astype('uint8')):
        for part in ('train', 'test') if number == 0 else ('train',):
            place = folder / part / f'{number:02d}'
            place.mkdir(parents=True)
            for time_, frame in enumerate(clip):
                Image.fromarray(frame).save(place / f'{time_}.png')
