"""What the blocks of doc/python.md give is what the command gives."""

import numpy as np

from modules.animation.motion_file import read_motion
from tests.support.demo_runs import frames_of
from tests.support.document_folder import DocumentFolder
from tests.support.documents import blocks

AS_THE_BLOCKS = (
    *('python', 'demo.py', '--source_image', 'me.png', '--driving_video', 'clip.mp4'),
    *('--relative', '--adapt_scale', '--crop', 'none', '--result_video'),
)


def check_python_document(folder: DocumentFolder, printed: str) -> None:
    """
    Args:
        printed: by all blocks.
    """
    code = {block.section: block.text for block in blocks('doc/python.md')}
    assert len([line for line in code['Ten lines'].splitlines() if line]) <= 10
    for line, count in (('(8, 128, 128, 3) uint8', 1), ('(128, 128, 3)', 3), ('(128, 128)', 1)):
        assert printed.splitlines().count(line) == count, line
    folder.run([*AS_THE_BLOCKS, 'demo.mp4'])
    made, commands = folder.path / 'result.mp4', folder.path / 'demo.mp4'
    assert made.read_bytes() == commands.read_bytes()
    assert read_motion(folder.path / 'wave.safetensors').frame_count == 8
    assert len(frames_of(folder.path / 'me.png.mp4')) == 8
    kept = "\nimport numpy\nnumpy.save('predictions.npy', numpy.stack(predictions))\n"
    (folder.path / 'block.py').write_text(code['Notebooks of the official code'] + kept)
    folder.run(['python', 'block.py'])
    folder.run([*AS_THE_BLOCKS, 'frames'])
    predictions = np.load(folder.path / 'predictions.npy')
    assert predictions.dtype == np.float32
    levels = np.rint(predictions * 255).astype('uint8')
    np.testing.assert_array_equal(levels, frames_of(folder.path / 'frames'))
