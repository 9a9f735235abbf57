"""The checks by name, in the order they run. Needs no Paddle."""

from collections.abc import Sequence
from typing import NamedTuple

from modules.runtime.errors import UserError


class Entry(NamedTuple):
    """A check: a function of this name in worker.py's table."""

    name: str
    proves: str  # what is so if it passes
    seconds: int = 300  # after which it counts as failed


CATALOGUE = (
    Entry('device', 'PaddlePaddle sees the GPU, and its driver serves the CUDA it was built for'),
    Entry('archs', "the wheel holds programs for this GPU's compute capability"),
    Entry('tf32', 'float32 is whole float32 once TF32 is switched off'),
    Entry('float64', 'networks, losses and gradients are those of the CPU in float64'),
    Entry('float32', 'networks and losses are those of the CPU in float32, without TF32'),
    Entry('inverse', 'Jacobians are inverted right, and a singular one ends nothing'),
    Entry('batch_norm', 'batch norm keeps the unbiased running variance'),
    Entry('repeat', 'the same step twice gives the same weights'),
    Entry('adam_resume', 'an optimizer that was saved and read goes on as one that was not'),
    Entry('amp_bf16', 'under bf16 convolutions are bfloat16 and coordinates float32'),
    Entry('amp_fp16', 'under fp16 convolutions are float16 and coordinates float32'),
    Entry('overflow', 'fp16: an overflow anywhere skips the step of all networks; state survives'),
    Entry('learning', 'in bf16 and fp16 gradients are those of float32, in less memory', 600),
    Entry('animation', 'frames in bf16 and fp16 are those of float32, their motion unmoved'),
    Entry('programs', 'programs, and frames in batches, give what the networks compute', 600),
    Entry('memory', 'a training sample takes the memory that is promised', 600),
    Entry('out_of_memory', 'a batch that is too large is named in one line'),
    Entry('processes', 'two processes train as one does on the joint batch', 600),
    Entry('no_gpu', 'without a visible GPU a line says so, and --cpu touches none'),
    Entry('demo', 'demo.py draws the frames that the CPU draws', 600),
    Entry('train', 'train.py trains, stops and resumes', 600),
)


def chosen(names: Sequence[str]) -> list[Entry]:
    """The checks of these names, in their order; all if none is named.

    Raises:
        UserError: there is no such check.
    """
    known = [entry.name for entry in CATALOGUE]
    for name in names:
        if name not in known:
            raise UserError(f'--only {name}: is none of the checks {", ".join(known)}')
    return [entry for entry in CATALOGUE if not names or entry.name in names]
