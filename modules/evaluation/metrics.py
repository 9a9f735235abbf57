"""How good a reconstruction is: every figure a sum over a clip's frames and how many it is of.

A figure of a test set is the sum over all its clips by what they count, so that each frame (or
keypoint) weighs the same: as officially for L1, a long clip weighs more than a short one.

Truth and result are compared as 8-bit frames, as they are saved and seen (predictions in [0, 1],
times 255, rounded), but for L1, which the official code takes of the network's own output.

What the official evaluation (reconstruction.py and the pose-evaluation repository of the same
author) does otherwise, and why these figures can't be laid beside ones made with it unread:

- AED there is the mean *squared* distance of the embeddings: the root is left out.
- AKD there is the mean difference of single coordinates, |dx| and |dy| apart, not the distance.
- A frame in which no face is found in the result is passed over silently, so that a model improves
  by failing. Here AKD stands beside MKR, which counts every keypoint that is lost, and frames that
  can't count (nothing found in the truth) are reported as a share.
- One video more than reconstruction_params.num_videos is reconstructed.
- Frames are saved with values cut off to whole levels, half a level darker on average.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from modules.evaluation.frame_pairs import Embedder, FramePair, PairDetector


class Tally(NamedTuple):
    """A sum of values and how many they are."""

    total: float
    count: int  # type: ignore[assignment]  # over the method of tuples that nobody calls

    @property
    def mean(self) -> float:
        """NaN if nothing was counted."""
        return self.total / self.count if self.count else float('nan')


Tallies = dict[str, Tally]
Measure = Callable[[FramePair], Tallies]


class Definition(NamedTuple):
    """What a figure means."""

    title: str
    better: str  # which way: 'lower' or 'higher'; '' for a share that only explains another figure
    text: str


DEFINITIONS = {
    'l1': Definition(
        'L1', 'lower',
        'mean absolute difference of all values of a frame in [0, 1], over all frames',
    ),
    'psnr': Definition(
        'PSNR', 'higher',
        'peak signal to noise ratio of the 8-bit frames in dB, mean over frames; an identical '
        'frame counts as one with a single value off by one level',
    ),
    'ssim': Definition(
        'SSIM', 'higher',
        "structural similarity of the 8-bit frames, mean over frames; scikit-image's defaults "
        '(7 x 7 windows), mean of the three channels',
    ),
    'lpips': Definition(
        'LPIPS', 'lower',
        'learned perceptual distance, version 0.1, of the 8-bit frames, mean over frames',
    ),
    'akd': Definition(
        'AKD', 'lower',
        'mean distance in pixels of the keypoints found in the truth and in the result',
    ),
    'mkr': Definition(
        'MKR', 'lower', 'share of the keypoints found in the truth that are missed in the result'
    ),
    'no_keypoints': Definition(
        'frames without keypoints', '',
        'share of frames that count for neither AKD nor MKR: none is found in the truth',
    ),
    'aed': Definition(
        'AED', 'lower', 'mean Euclidean distance of the identity embeddings of truth and result'
    ),
    'lost_embedding': Definition(
        'lost identity', 'lower',
        'share of the frames with an embedding of the truth that have none of the result, and so '
        'do not count for AED',
    ),
    'no_embedding': Definition(
        'frames without identity', '', 'share of frames with no embedding of the truth'
    ),
}  # fmt: skip


def add(sums: Tallies, frame: Tallies) -> None:
    """Adds the figures of a frame to `sums`."""
    for name, tally in frame.items():
        before = sums.get(name, Tally(0.0, 0))
        sums[name] = Tally(before.total + tally.total, before.count + tally.count)


def measure_l1(pair: FramePair) -> Tallies:
    """The official reconstruction loss: of the values before they are rounded."""
    truth = pair.truth.astype('float32') / 255
    return {'l1': Tally(float(np.abs(pair.prediction - truth).mean(dtype='float64')), 1)}


def measure_psnr(pair: FramePair) -> Tallies:
    if np.array_equal(pair.truth, pair.result):
        # Infinite, which no mean survives: the largest value that is not stands for it.
        return {'psnr': Tally(float(10 * np.log10(255**2 * pair.truth.size)), 1)}
    value = peak_signal_noise_ratio(pair.truth, pair.result, data_range=255)
    return {'psnr': Tally(float(value), 1)}


def measure_ssim(pair: FramePair) -> Tallies:
    value = structural_similarity(pair.truth, pair.result, channel_axis=2, data_range=255)
    return {'ssim': Tally(float(value), 1)}


class KeypointMeasure:
    """AKD and MKR by the keypoints of a detector."""

    def __init__(self, detect: PairDetector):
        self._detect = detect

    def __call__(self, pair: FramePair) -> Tallies:
        truth, result = self._detect(pair)
        in_truth, in_result = (np.isfinite(points).all(axis=1) for points in (truth, result))
        both = in_truth & in_result
        distances = np.linalg.norm(truth[both] - result[both], axis=1)
        found, kept = int(in_truth.sum()), int(both.sum())
        return {
            'akd': Tally(float(distances.sum()), kept),
            'mkr': Tally(found - kept, found),
            'no_keypoints': Tally(int(found == 0), 1),
        }


class EmbeddingMeasure:
    """AED by the vectors of an embedder."""

    def __init__(self, embed: Embedder):
        self._embed = embed

    def __call__(self, pair: FramePair) -> Tallies:
        truth = self._embed(pair.truth)
        if truth is None:
            return {'no_embedding': Tally(1, 1)}
        shares = {'no_embedding': Tally(0, 1)}
        result = self._embed(pair.result)
        if result is None:
            return {**shares, 'lost_embedding': Tally(1, 1)}
        distance = np.linalg.norm(np.subtract(truth, result, dtype='float64'))
        return {**shares, 'lost_embedding': Tally(0, 1), 'aed': Tally(float(distance), 1)}


# What each metric of --metrics reports.
FIGURES: dict[str, tuple[str, ...]] = {
    'l1': ('l1',), 'psnr': ('psnr',), 'ssim': ('ssim',), 'lpips': ('lpips',),
    'akd': ('akd', 'no_keypoints'), 'mkr': ('mkr', 'no_keypoints'),
    'aed': ('aed', 'lost_embedding', 'no_embedding'),
}  # fmt: skip
