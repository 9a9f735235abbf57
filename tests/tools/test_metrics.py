"""The figures of tools/evaluate.py on cases whose answers are known."""

import math
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from modules.checkpoints.npz_file import write_npz
from modules.evaluation.frame_pairs import FramePair
from modules.evaluation.metrics import (
    DEFINITIONS,
    FIGURES,
    EmbeddingMeasure,
    Tally,
    add,
    measure_l1,
    measure_psnr,
    measure_ssim,
)
from modules.runtime.errors import UserError
from modules.runtime.seeding import seeded_inputs, seeded_value
from tests.support.frame_pairs import Fixed, noise, pair_of
from tools.evaluation.bootstrap import half_width, interval
from tools.evaluation.detectors import (
    build_detector,
    build_embedder,
    colours,
)
from tools.evaluation.perceptual_distance import ALEXNET, VGG16, LpipsMeasure, build_lpips

# --- frames ------------------------------------------------------------------------------------


def test_identical_frames():
    pair = pair_of(noise(0), noise(0))
    assert measure_l1(pair) == {'l1': (0, 1)}
    assert measure_ssim(pair)['ssim'].mean == pytest.approx(1)
    off = noise(0)
    off[0, 0, 0] ^= 1  # the least difference that there can be
    assert measure_psnr(pair)['psnr'].mean == pytest.approx(peak_signal_noise_ratio(noise(0), off))


def test_l1_is_of_the_values_before_rounding():
    truth = np.full((8, 8, 3), 51, 'uint8')  # 0.2
    prediction = np.full((8, 8, 3), 0.2, 'float32')
    prediction[:4, :, 0] += 0.3  # a sixth of the values
    prediction[:, :, 2] -= 0.001  # a third, by less than half a level
    pair = FramePair(Path('clip'), 0, truth, prediction, np.rint(prediction * 255).astype('uint8'))
    assert measure_l1(pair)['l1'].mean == pytest.approx(0.3 / 6 + 0.001 / 3, rel=1e-4)


def test_psnr_of_known_error():
    truth = np.full((8, 8, 3), 100, 'uint8')
    result = truth + 5
    expected = 20 * math.log10(255 / 5)
    assert measure_psnr(pair_of(truth, result))['psnr'].mean == pytest.approx(expected)


def test_psnr_and_ssim_are_those_of_scikit_image():
    truth, result = noise(1), noise(2)
    result[:12] = truth[:12]
    pair = pair_of(truth, result)
    assert measure_psnr(pair)['psnr'].mean == peak_signal_noise_ratio(truth, result)
    wanted = structural_similarity(truth, result, channel_axis=-1)
    assert measure_ssim(pair)['ssim'].mean == wanted < 0.9


def test_every_frame_weighs_the_same():
    sums = {}
    for frame in ({'l1': Tally(1.0, 1)}, {'l1': Tally(2.0, 1), 'akd': Tally(12.0, 4)}):
        add(sums, frame)
    assert sums == {'l1': (3, 2), 'akd': (12, 4)}
    assert sums['akd'].mean == 3
    assert math.isnan(Tally(0.0, 0).mean)


def test_every_figure_is_defined():
    names = {name for figures in FIGURES.values() for name in figures}
    assert names == set(DEFINITIONS)


# --- LPIPS -------------------------------------------------------------------------------------

# What the lpips package 0.1.4 gives for the same images and weights in PyTorch.
OFFICIAL_LPIPS = {
    'AlexNet': [0.01808825135231018, 0.01786199025809765],
    'VGG16': [0.01609627902507782, 0.01614072173833847],
}
ALEXNET_SHAPES = {
    0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}  # fmt: skip


def vgg16_shapes():
    shapes, channels, layer = {}, 3, 0
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            shapes[layer] = (width, channels, 3, 3)
            channels, layer = width, layer + 2
        layer += 1  # the pooling
    return shapes


@pytest.fixture
def lpips_weights(tmp_path):
    """Writes files of seeded weights for a backbone -> their paths."""

    def write(backbone):
        arrays = {}
        shapes = ALEXNET_SHAPES if backbone is ALEXNET else vgg16_shapes()
        for layer, shape in shapes.items():
            for key, form in (('weight', shape), ('bias', shape[:1])):
                value = seeded_value(f'vgg19.features.{layer}.{key}', form, 0)
                arrays[f'features.{layer}.{key}'] = value * (2**0.5 if key == 'weight' else 1)
        linear = {
            f'lin{level}.model.1.weight': (np.arange(width) % 3 / width)
            .astype('float32')
            .reshape(1, width, 1, 1)
            for level, width in enumerate(backbone.widths)
        }
        write_npz(tmp_path / 'backbone.npz', arrays)
        write_npz(tmp_path / 'linear.npz', linear)
        return tmp_path / 'backbone.npz', tmp_path / 'linear.npz'

    return write


@pytest.mark.parametrize('backbone', [ALEXNET, VGG16], ids=lambda backbone: backbone.name)
def test_lpips_is_the_official_one(lpips_weights, backbone):
    network = build_lpips(lpips_weights(backbone))
    frames = seeded_inputs(0, (64, 64, 3), 0.05)
    source, driving = (frames[key].transpose(0, 2, 3, 1) for key in ('source', 'driving'))
    measure = LpipsMeasure(network)
    for first, second, wanted in zip(source, driving, OFFICIAL_LPIPS[backbone.name]):
        value = measure(pair_of(first, second))['lpips'].mean
        assert value == pytest.approx(wanted, rel=2e-5)
        assert measure(pair_of(first, first))['lpips'].mean == 0
    batches = [
        paddle.to_tensor(frames[key].astype('float32') / 255) for key in ('source', 'driving')
    ]
    assert network(*batches).tolist() == pytest.approx(OFFICIAL_LPIPS[backbone.name], rel=2e-5)


def test_lpips_weights_that_do_not_fit(lpips_weights, tmp_path):
    backbone, linear = lpips_weights(ALEXNET)
    with pytest.raises(UserError, match=r'backbone\.npz: no LPIPS weights'):
        build_lpips((backbone, backbone))
    with pytest.raises(UserError, match=r'linear\.npz: no AlexNet weights: features\.0\.weight'):
        build_lpips((linear, linear))


# --- keypoints ---------------------------------------------------------------------------------


# --- identity ----------------------------------------------------------------------------------


def embeddings(truth_vector, result_vector):
    truth, result = noise(0), noise(1)
    measure = EmbeddingMeasure(Fixed((truth, truth_vector), (result, result_vector)))
    return measure(pair_of(truth, result))


def test_aed_is_the_distance_not_its_square():
    figures = embeddings(np.array([1.0, 2, 3]), np.array([1.0, 5, 7]))
    assert figures == {'no_embedding': (0, 1), 'lost_embedding': (0, 1), 'aed': (5, 1)}


def test_lost_identities_are_told():
    vector = np.ones(3)
    assert embeddings(vector, None) == {'no_embedding': (0, 1), 'lost_embedding': (1, 1)}
    assert embeddings(None, vector) == {'no_embedding': (1, 1)}


def test_colours_know_no_place():
    frame = noise(3)
    turned = np.ascontiguousarray(frame[::-1, ::-1])
    assert np.linalg.norm(colours(frame)) == pytest.approx(1)
    assert colours(turned) == pytest.approx(colours(frame))
    black, white = np.zeros((4, 4, 3), 'uint8'), np.full((4, 4, 3), 255, 'uint8')
    assert np.linalg.norm(colours(black) - colours(white)) == pytest.approx(2**0.5)
    assert 0 < np.linalg.norm(colours(black) - colours(black + 2)) < 0.15
    half = black.copy()
    half[:2] = 255
    distance = np.linalg.norm(colours(black) - colours(half))
    assert distance == pytest.approx((2 - 2**0.5) ** 0.5)


# --- by name -----------------------------------------------------------------------------------


def test_detectors_and_embedders_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / 'of_my_own.py').write_text(
        'import numpy as np\n'
        'def corner():\n'
        '    return lambda frame: np.array([[0, 0], [frame.shape[1], frame.shape[0]]])\n'
        'def mean():\n'
        '    return lambda frame: frame.mean(axis=(0, 1))\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    frame = noise(0)
    truth, result = build_detector('of_my_own:corner')(pair_of(frame, frame))
    assert truth.tolist() == result.tolist() == [[0, 0], [24, 24]]
    assert build_embedder('of_my_own:mean')(frame).shape == (3,)
    with pytest.raises(UserError, match=r"of_my_own:nothing: .*no attribute 'nothing'"):
        build_embedder('of_my_own:nothing')
    with pytest.raises(UserError, match=r'not_there:mean: .*No module'):
        build_embedder('not_there:mean')


@pytest.mark.parametrize(
    'build, option', [(build_detector, '--detector'), (build_embedder, '--embedder')]
)
@pytest.mark.parametrize('name', ['mediapipe', 'a:', ':b'])
def test_unknown_names(build, option, name):
    with pytest.raises(UserError, match=f'{option} {name}: none of '):
        build(name)


# --- intervals ---------------------------------------------------------------------------------


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = interval(rng.normal(3, 1, 40), resamples=400)
        inside += low <= 3 <= high
    assert 180 <= inside <= 198  # of 200; 95 % and the bootstrap's slight optimism


def test_interval_is_over_clips_not_frames():
    """Equal frames within a clip make it no surer, and a long clip weighs more."""
    clips = np.array([1.0, 2.0, 4.0, 7.0])
    assert interval(clips * 50, np.full(4, 50)) == pytest.approx(interval(clips))
    assert half_width(clips) > 1
    assert half_width(np.full(9, 2.5)) == 0
    # Of two clips, one in four resamples holds the first one twice, one in four the second one.
    assert interval(np.array([100.0, 2.0]), np.array([100, 1])) == (1, 2)


def test_interval_without_values():
    assert all(math.isnan(limit) for limit in interval(np.zeros(3), np.zeros(3)))
    assert interval(np.array([0.0, 6.0]), np.array([0, 2])) == (3, 3)
