"""What evaluate.py writes: the figures of a test set as Markdown, JSON and csv."""

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.evaluation.metrics import DEFINITIONS, FIGURES, Tallies, Tally
from tools.evaluation.bootstrap import interval
from tools.markdown import table

# What each metric needs beside the frames.
NEEDS = {
    'lpips': '--metrics lpips, which downloads its weights once, or --lpips_weights',
    'akd': '--detector',
    'mkr': '--detector',
    'aed': '--embedder',
}


class Row(NamedTuple):
    """A clip's figures."""

    name: str
    frames: int
    figures: Tallies


class Evaluation(NamedTuple):
    """What was measured."""

    rows: list[Row]
    broken: list[str]  # a line for each clip that was left out


def list_figures(metrics: Sequence[str]) -> list[str]:
    """The names of the figures that these metrics report."""
    return list(dict.fromkeys(name for metric in metrics for name in FIGURES[metric]))


def summarize(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """A figure over all clips; None where nothing was counted, or a single clip has no interval."""
    tallies = [row.figures.get(name, Tally(0.0, 0)) for row in rows]
    totals, counts = (np.array(column, 'float64') for column in zip(*tallies))
    low, high = interval(totals, counts) if len(rows) > 1 else (math.nan, math.nan)
    means = [tally.mean for tally in tallies if tally.count]
    values = {
        'value': Tally(float(totals.sum()), int(counts.sum())).mean,
        'low': low,
        'high': high,
        'mean_over_videos': float(np.mean(means)) if means else math.nan,
    }
    definition = DEFINITIONS[name]
    return {
        **{key: None if math.isnan(value) else value for key, value in values.items()},
        'count': int(counts.sum()),
        'better': definition.better or None,
        'definition': definition.text,
    }


def describe(
    options: argparse.Namespace, config: Mapping[str, Any], evaluation: Evaluation
) -> dict[str, Any]:
    """All that summary.json holds."""
    rows = evaluation.rows
    return {
        'config': str(options.config),
        'checkpoint': options.checkpoint or config['ckpt_model'],
        'dataset': config['dataset_params']['root_dir'],
        'frame_shape': config['dataset_params']['frame_shape'],
        'videos': len(rows),
        'frames': sum(row.frames for row in rows),
        'broken': evaluation.broken,
        'detector': options.detector,
        'embedder': options.embedder,
        'figures': {name: summarize(rows, name) for name in list_figures(options.metrics)},
        'not_measured': {
            metric: f'needs {NEEDS.get(metric, f"--metrics {metric}")}'
            for metric in FIGURES
            if metric not in options.metrics
        },
        'versions': list_versions(),
    }


def list_versions() -> dict[str, str]:
    """Of the packages that the figures depend on."""
    versions = {}
    for package in ('paddlepaddle', 'paddlepaddle-gpu', 'numpy', 'scikit-image', 'mediapipe'):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # an extra, or the other build of Paddle
            continue
    return versions


def figures_table(summary: Mapping[str, Any]) -> str:
    """The figures as a Markdown table."""
    rows = []
    arrows = {'lower': ' ↓', 'higher': ' ↑', None: ''}
    for name, figure in summary['figures'].items():
        value, low, high, mean = (
            'none' if figure[key] is None else f'{figure[key]:.5g}'
            for key in ('value', 'low', 'high', 'mean_over_videos')
        )
        title = DEFINITIONS[name].title + arrows[figure['better']]
        limits = f'{low} to {high}' if figure['low'] is not None else 'none'
        rows.append((title, value, limits, mean, str(figure['count'])))
    header = ('figure', 'value', '95 % interval', 'mean of the clips', 'values')
    return '\n'.join(table(header, rows))


def to_markdown(summary: Mapping[str, Any]) -> str:
    """summary.md."""
    height, width = summary['frame_shape'][:2]
    parts = [
        '# Reconstruction of a test set',
        f'{summary["videos"]} clips of {summary["dataset"]}, {summary["frames"]} frames of '
        f'{width}x{height}, each clip from its first frame; config {summary["config"]}, weights '
        f'{show_weights(summary["checkpoint"])}.',
        figures_table(summary),
        '\n'.join(
            f'- {DEFINITIONS[name].title}: {figure["definition"]}'
            for name, figure in summary['figures'].items()
        ),
        'Each frame (or keypoint) weighs the same. Intervals: bootstrap over the clips.',
    ]
    if summary['detector']:
        parts.append(f'Keypoints: {summary["detector"]}.')
    if summary['embedder']:
        parts.append(f'Embeddings: {summary["embedder"]}.')
    if summary['not_measured']:
        rest = (f'{DEFINITIONS[m].title} ({why})' for m, why in summary['not_measured'].items())
        parts.append(f'Not measured: {", ".join(rest)}.')
    if summary['broken']:
        lines = '\n'.join(f'- {line}' for line in summary['broken'])
        parts.append(f'{len(summary["broken"])} broken clips were left out:\n\n{lines}')
    return '\n\n'.join(parts) + '\n'


def show_weights(checkpoint: Any) -> str:
    if not isinstance(checkpoint, Mapping):
        return str(checkpoint)
    return ' and '.join(dict.fromkeys(path for path in checkpoint.values() if path))


def write_text(path: Path, text: str) -> None:
    """Writes a text whose names of files are those on the disk, which need not be UTF-8."""
    path.write_text(text, encoding='utf-8', errors='surrogateescape')


def write_csv(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A line for each clip; how many values a figure is of where these are not all frames."""
    columns = ['video', 'frames']
    for name in names:
        partly = any(row.figures.get(name, Tally(0.0, 0)).count != row.frames for row in rows)
        columns += [name, f'{name}_count'] if partly else [name]
    with open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='') as file:
        writer = csv.DictWriter(file, columns, restval='', extrasaction='ignore')
        writer.writeheader()
        for row in rows:
            cells: dict[str, Any] = {'video': row.name, 'frames': row.frames}
            for name in names:
                tally = row.figures.get(name, Tally(0.0, 0))
                cells[name] = f'{tally.mean:.9g}' if tally.count else ''
                cells[f'{name}_count'] = tally.count
            writer.writerow(cells)
