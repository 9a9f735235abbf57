"""Animates a picture by an exported model: python example.py PICTURE CLIP RESULT.mp4

Needs nothing but: pip install onnxruntime imageio imageio-ffmpeg numpy pillow
"""

import json
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import onnxruntime
from PIL import Image

folder = Path(__file__).parent
height, width, _ = json.loads((folder / 'export.json').read_text())['frame']
names = ('keypoints', 'source', 'frame')
programs = {name: onnxruntime.InferenceSession(folder / f'{name}.onnx') for name in names}


def run(program, **inputs):  # arrays in float32; without the Jacobians where there are none
    known = {given.name for given in programs[program].get_inputs()}
    return programs[program].run(None, {name: x for name, x in inputs.items() if name in known})


def image(frame):  # (H, W, 3) uint8 -> (1, 3, H, W) float32 in [0, 1]
    small = Image.fromarray(frame).convert('RGB').resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32).transpose(2, 0, 1)[np.newaxis] / 255


if len(sys.argv) != 4:
    sys.exit(__doc__)
picture, clip, result = sys.argv[1:]
source = image(imageio.imread(picture))
reduced, features = run('source', image=source)
of_source, first, frames = run('keypoints', image=source), None, []
for frame in imageio.imiter(clip, plugin='FFMPEG'):
    kp = run('keypoints', image=image(frame))
    first = first or kp  # how it moves from here is what the picture is given
    value = of_source[0] + kp[0] - first[0]
    jacobian = None if len(kp) < 2 else kp[1] @ np.linalg.inv(first[1]) @ of_source[1]
    (made,) = run(
        'frame',
        reduced=reduced,
        features=features,
        driving_value=value,
        source_value=of_source[0],
        driving_jacobian=jacobian,
        source_jacobian=of_source[-1],
    )
    frames.append((made[0].transpose(1, 2, 0) * 255).round().astype(np.uint8))
imageio.imwrite(result, frames, plugin='FFMPEG', fps=imageio.immeta(clip, plugin='FFMPEG')['fps'])
