"""The forms in which people run the official networks on CPUs when they are to be fast.

Each takes the networks as the official code builds them, in eval mode, and gives two callables that
its `make_animation` takes in their place: generator and keypoint detector. Whatever they prepare is
part of the first frame. They run beside the official repository: see benchmark.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Networks = tuple[Callable, Callable]  # generator, kp_detector


def _plain(generator, kp_detector, torch) -> Networks:
    return generator, kp_detector


def _channels_last(generator, kp_detector, torch) -> Networks:
    """Weights with their channels last, which convolutions pass on to what they compute."""
    last = torch.channels_last
    return generator.to(memory_format=last), kp_detector.to(memory_format=last)


def _compiled(generator, kp_detector, torch) -> Networks:
    """torch.compile, with the weights frozen into what it generates."""
    from torch._inductor import config

    config.freezing = True
    return torch.compile(generator), torch.compile(kp_detector)


def _bf16(generator, kp_detector, torch) -> Networks:
    """bfloat16 by autocast, results in float32; keypoints stay float32, as everywhere here."""

    def generate(*args, **keypoints):
        with torch.autocast('cpu', torch.bfloat16):
            out = generator(*args, **keypoints)
        return {'prediction': out['prediction'].float()}

    return generate, kp_detector


def _openvino(generator, kp_detector, torch, precision: str = 'f32') -> Networks:
    """Converted by OpenVINO's own converter, each frame's size fixed."""
    import openvino

    class Detector(torch.nn.Module):
        """Image -> keypoints as a tuple, which has no names to lose."""

        def __init__(self):
            super().__init__()
            self.network = kp_detector

        def forward(self, image):
            found = self.network(image)
            return tuple(found[name] for name in names)

    class Generator(torch.nn.Module):
        """Source image, its keypoints, those of the driving frame -> the prediction."""

        def __init__(self):
            super().__init__()
            self.network = generator

        def forward(self, source, *parts):
            of_source, of_driving = parts[: len(names)], parts[len(names) :]
            keypoints = {'kp_source': dict(zip(names, of_source))}
            keypoints['kp_driving'] = dict(zip(names, of_driving))
            return self.network(source, **keypoints)['prediction']

    names = ('value', 'jacobian') if kp_detector.jacobian is not None else ('value',)
    programs: dict[str, Any] = {}

    def run(module, precision, *inputs):
        """What a module makes of the inputs; converted at its first call, for their sizes."""
        name = type(module).__name__
        if name not in programs:
            converted = openvino.convert_model(
                module.eval(), example_input=inputs, input=[list(x.shape) for x in inputs]
            )
            hints = {'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'LATENCY'}
            programs[name] = openvino.compile_model(converted, 'CPU', hints).create_infer_request()
        results = programs[name].infer([x.contiguous().numpy() for x in inputs])
        return [torch.from_numpy(array.copy()) for array in results.values()]

    detector, drawer = Detector(), Generator()

    def detect(image):
        return dict(zip(names, run(detector, 'f32', image)))

    def generate(source, kp_source, kp_driving):
        parts = [keypoints[name] for keypoints in (kp_source, kp_driving) for name in names]
        return {'prediction': run(drawer, precision, source, *parts)[0]}

    return generate, detect


def _openvino_bf16(generator, kp_detector, torch) -> Networks:
    return _openvino(generator, kp_detector, torch, 'bf16')


class Form(NamedTuple):
    """How networks are run."""

    prepare: Callable[
        ..., Networks
    ]  # generator, kp_detector, the module torch -> what replaces them
    package: str = 'torch'
    bf16: bool = False  # worth measuring only where the CPU has instructions for it


FORMS = {
    'official': Form(_plain),
    'official, channels last': Form(_channels_last),
    'official, compiled': Form(_compiled),
    'official, bf16': Form(_bf16, bf16=True),
    'OpenVINO': Form(_openvino, 'openvino'),
    'OpenVINO, bf16': Form(_openvino_bf16, 'openvino', bf16=True),
}
