"""The command line options that choose an engine (modules/inference/engine.py); needs no Paddle."""

import argparse

ENGINES = ('auto', 'eager', 'onednn', 'cudnn')
PRECISIONS = ('fp32', 'bf16', 'fp16')


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--engine, --precision and --batch."""
    parser.add_argument(
        '--engine',
        choices=ENGINES,
        default='auto',
        help='onednn: compiled for the CPU; cudnn: compiled for the GPU; eager: operation by '
        'operation, the reference; auto (the default): onednn if it is available, else eager',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='fp32',
        help='precision of the generator: bf16 is faster if the CPU has instructions for it, fp16 '
        'is for GPUs; keypoints are always found in fp32',
    )
    parser.add_argument(
        '--batch',
        type=_batch,
        metavar='N',
        help='frames computed at once; changes results only by rounding, and memory grows with N. '
        'If left out: one on most CPUs; several on GPUs and, with --precision bf16, on CPUs with '
        'AMX',
    )


def _batch(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: give a whole number of at least 1')
    return int(text)
