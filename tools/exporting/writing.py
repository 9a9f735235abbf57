"""What tools/export.py writes into its folder."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from modules.build import Models
from tools.exporting.checks import difference, eager_frames, exported_frames
from tools.exporting.formats import FORMATS, trace
from tools.exporting.programs import export_programs

DESCRIPTION = 'export.json'
SEVERAL = 2  # items that a program for any number of them is tried with


def export(
    models: Models,
    config: Mapping[str, Any],
    formats: Sequence[str],
    batch: int | None,
    source: np.ndarray,
    driving: Sequence[np.ndarray],
    folder: Path,
) -> dict[str, float]:
    """Writes the programs of trained networks, and what they are, and compares their frames.

    Args:
        formats: names in FORMATS.
        batch: items of a run; None: any number.
        source, driving: pictures (H, W, C) of the model's size, float32 in [0, 1].
        folder: an empty one.

    Returns:
        Of each runtime that is installed, the largest difference of a frame in [0, 1].

    Raises:
        UserError: a frame differs too much, or an operation has no form in a format.
    """
    models.eval()
    height, width, channels = source.shape
    expected = eager_frames(models, source, driving)
    with paddle.no_grad():
        programs = export_programs(models, (height, width))
        num_kp = config['model_params']['common_params']['num_kp']
        shapes = _item_shapes(programs, (channels, height, width), num_kp)
        traced = trace(programs, shapes, batch)
        for form in formats:
            for name, program in traced.items():
                FORMATS[form].write(folder, name, program)
    found = {}
    for form in formats:
        for runtime in FORMATS[form].runtimes:
            if importlib.util.find_spec(runtime.package) is None:
                continue
            loaded = {name: runtime.load(folder, name) for name in programs}
            frames = exported_frames(loaded, source, driving, batch or SEVERAL)
            found[runtime.name] = difference(runtime.name, frames, expected)
    described = {
        'frame': [height, width, channels],
        'keypoints': num_kp,
        'batch': batch or 'dynamic',
        'programs': {
            name: {'inputs': program.inputs, 'outputs': program.outputs}
            for name, program in traced.items()
        },
        'largest_differences': found,
        'paddle': paddle.__version__,
    }
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + '\n', encoding='utf-8')
    return found


def _item_shapes(
    programs: Mapping[str, nn.Layer], image: Sequence[int], num_kp: int
) -> dict[str, list[int]]:
    """Of an item, each input of the programs that there is."""
    zeros = paddle.zeros([1, *image])
    reduced, features = programs['source'](zeros)
    shapes = {
        'image': list(image),
        'reduced': list(reduced.shape[1:]),
        'features': list(features.shape[1:]),
        'driving_value': [num_kp, 2],
        'source_value': [num_kp, 2],
    }
    if len(programs['keypoints'](zeros)) > 1:
        shapes['driving_jacobian'] = shapes['source_jacobian'] = [num_kp, 2, 2]
    return shapes
