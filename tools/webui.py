"""A page to animate pictures in, for a browser on this computer.

    python -m pip install -r requirements-web.txt
    python tools/webui.py

Needs the packages of requirements-web.txt. doc/page.md tells more.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from modules.animation.inputs import choose_weights
from modules.checkpoints.download import KNOWN_WEIGHTS
from modules.checkpoints.places import find_weights
from modules.config import load_config
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError

INSTALL = 'python -m pip install -r requirements-web.txt'


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    serving = parser.add_argument_group('serving')
    serving.add_argument(
        '--host',
        default='127.0.0.1',
        metavar='ADDRESS',
        help='address to listen on; 0.0.0.0 lets everybody in your network use the page',
    )
    serving.add_argument(
        '--port', type=_port, default=7860, metavar='N', help='port to listen on; 0: any free one'
    )
    serving.add_argument(
        '--share',
        action='store_true',
        help="a public address for a week, through Gradio's servers, which see all that is sent",
    )
    models = parser.add_argument_group('models')
    models.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='your weights, as for demo.py; the page offers them first',
    )
    models.add_argument('--config', metavar='FILE.yaml', help='config of --checkpoint')
    add_engine_options(models)  # type: ignore[arg-type]  # as in modules/animation/options.py
    models.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    limits = parser.add_argument_group('limits')
    for name, default, what in (
        ('mb', 100, 'largest file, in megabytes'),
        ('seconds', 120, 'longest clip, in seconds'),
        ('pixels', 40, 'largest picture, frame and result, in millions of pixels'),
    ):
        limits.add_argument(
            f'--max_{name}',
            type=_above_zero,
            default=default,
            metavar='N',
            help=what,
        )
    limits.add_argument(
        '--max_waiting',
        type=int,
        default=20,
        metavar='N',
        help='most jobs in line',
    )
    limits.add_argument(
        '--keep_minutes',
        type=_above_zero,
        default=60,
        metavar='N',
        help='files are removed after N minutes, or when the page is left',
    )
    return parser.parse_args()


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f'{text}: give a number above 0')
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text}: give a port from 0 to 65535')
    return int(text)


def check_weights(options: argparse.Namespace) -> None:
    """Nothing is downloaded or loaded before it is used.

    Raises:
        UserError: there is no such checkpoint, name or config.
    """
    given = options.checkpoint
    if given is not None and given not in KNOWN_WEIGHTS:
        find_weights(given)
    load_config(choose_weights(options.config, given)[0])


def main() -> None:
    options = parse_arguments()
    check_weights(options)
    # Nothing is told to anybody, and nothing looked for elsewhere; read on import.
    os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_OFFLINE='1', DO_NOT_TRACK='1')
    for name in ('gradio', 'websockets'):
        if importlib.util.find_spec(name) is None:
            raise UserError(f'the page needs an extra, which has {name}: {INSTALL}')
    from tools.page.files import open_files

    with open_files(60 * options.keep_minutes, round(20e6 * options.max_mb)) as files:
        # Gradio makes folders as it is imported: they lie here, too.
        os.environ['GRADIO_TEMP_DIR'] = str(files.folder)
        # So does what libraries put down for a while, here and in the processes that compute.
        os.environ['TMPDIR'] = tempfile.tempdir = str(files.spool)
        from tools.page.examples import make_examples
        from tools.page.jobs import JobQueue
        from tools.page.server import build_site, serve
        from tools.page.site import Site

        jobs = JobQueue(options.max_waiting, options.cpu)
        site = Site(options, files, jobs, make_examples(files.folder / 'examples'))
        serve(build_site(site), options)


if __name__ == '__main__':
    run_command(main)
