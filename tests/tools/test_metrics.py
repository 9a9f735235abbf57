"""The figures of tools/evaluate.py on cases whose answers are known."""

import math
import sys
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Thing

import numpy as np
import paddle
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from modules.checkpoints.npz_file import write_npz
from modules.runtime.errors import UserError
from modules.runtime.seeding import seeded_inputs, seeded_value
from tools.creature_drawing.creatures import Creature, clip_times, draw_clip, joints
from tools.creature_drawing.motion import Motion
from tools.evaluation import detectors
from tools.evaluation.bootstrap import half_width, interval
from tools.evaluation.detectors import (
    FramePair,
    build_detector,
    build_embedder,
    colours,
    find_piece,
)
from tools.evaluation.metrics import (
    DEFINITIONS,
    FIGURES,
    EmbeddingMeasure,
    KeypointMeasure,
    Tally,
    add,
    measure_l1,
    measure_psnr,
    measure_ssim,
)
from tools.evaluation.perceptual_distance import ALEXNET, VGG16, LpipsMeasure, build_lpips

SIZE = 64


def pair_of(truth, result, clip='clip', number=0):
    prediction = np.asarray(result, 'float32') / 255
    return FramePair(Path(clip), number, truth, prediction, result)


def noise(seed, size=24):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype('uint8')


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


class Fixed:
    """A detector that knows the frames."""

    def __init__(self, *known):
        self._known = known

    def __call__(self, frame):
        return next(points for known, points in self._known if known is frame)


def keypoints(truth_points, result_points):
    """AKD and MKR of a truth and a result with these keypoints."""
    truth, result = noise(0), noise(1)
    detect = Fixed((truth, truth_points), (result, result_points))
    measure = KeypointMeasure(detectors.EachFrame('fixed', detect))
    return measure(pair_of(truth, result))


def test_akd_is_the_distance_not_its_square_nor_its_parts():
    points = np.array([[1.0, 2.0], [5.0, 6.0]])
    assert keypoints(points, points)['akd'].mean == 0
    figures = keypoints(points, points + np.array([3, -4]))
    assert figures == {'akd': (10, 2), 'mkr': (0, 2), 'no_keypoints': (0, 1)}


def test_missed_keypoints_count_for_mkr_alone():
    points = np.arange(8.0).reshape(4, 2)
    result = points + np.array([0, 2])
    result[1] = np.nan
    points[3, 0] = np.nan  # found in the result only: neither missed nor compared
    assert keypoints(points, result) == {'akd': (4, 2), 'mkr': (1, 3), 'no_keypoints': (0, 1)}


def test_frames_without_keypoints_are_told():
    points = np.zeros((5, 2))
    assert keypoints(points, None) == {'akd': (0, 0), 'mkr': (5, 5), 'no_keypoints': (0, 1)}
    assert keypoints(None, points) == {'akd': (0, 0), 'mkr': (0, 0), 'no_keypoints': (1, 1)}
    assert keypoints(None, None)['no_keypoints'] == (1, 1)


@pytest.mark.parametrize('result', [np.zeros((4, 2)), np.zeros((3, 3)), 7.0])
def test_keypoints_of_another_shape(result):
    with pytest.raises(UserError, match='--detector fixed: '):
        keypoints(np.zeros((3, 2)), result)


@pytest.fixture
def drawn(tmp_path):
    """A drawn clip with its file of joints -> (path of the clip, frames, joints in pixels)."""
    rng = np.random.default_rng(4)
    creature, motion = Creature.random(rng, legs=4), Motion('walk')
    found = joints(creature, motion, clip_times(8))
    pixels = (found.points + 1) / 2 * (SIZE - 1)
    (tmp_path / 'joints' / 'test').mkdir(parents=True)
    arrays = {'points': pixels, 'visible': found.visible}
    write_npz(tmp_path / 'joints' / 'test' / 'a.mp4.npz', arrays)
    return tmp_path / 'test' / 'a.mp4', draw_clip(creature, motion, 8, SIZE), found, pixels


def shifted(frame, x, y):
    """The frame with its content moved, its border going on."""
    rows, columns = (np.clip(np.arange(SIZE) - by, 0, SIZE - 1) for by in (y, x))
    return frame[rows[:, None], columns]


@pytest.mark.parametrize('shift', [(0, 0), (2, 0), (-3, 4)])
def test_drawn_joints_follow_a_known_shift(drawn, shift):
    clip, frames, found, _ = drawn
    measure = KeypointMeasure(build_detector('joints'))
    for number in (0, 3):
        result = shifted(frames[number], *shift)
        figures = measure(pair_of(frames[number], result, clip, number))
        assert figures['akd'].mean == pytest.approx(np.hypot(*shift), abs=1e-9)
        assert figures['mkr'].total == 0
        assert 0.7 * found.visible[number].sum() <= figures['mkr'].count


def test_drawn_joints_are_found_where_they_went(drawn):
    """The next frame of the clip has known joints, too."""
    clip, frames, found, pixels = drawn
    detect = build_detector('joints')
    errors = []
    for number in range(7):
        _, there = detect(pair_of(frames[number], frames[number + 1], clip, number))
        seen = found.visible[number] & found.visible[number + 1] & np.isfinite(there).all(axis=1)
        errors += list(np.linalg.norm(there - pixels[number + 1], axis=1)[seen])
    assert len(errors) > 40 and np.median(errors) < 0.9  # which moved 3 pixels in the mean


def test_a_removed_creature_has_lost_its_joints(drawn):
    clip, frames, _, _ = drawn
    measure = KeypointMeasure(build_detector('joints'))
    background = np.repeat(frames[0][:, :1], SIZE, axis=1)  # the creature does not reach the edge
    figures = measure(pair_of(frames[0], background, clip, 0))
    assert figures['mkr'].mean > 0.9 and figures['akd'].count <= 1


def test_hidden_and_plain_joints_do_not_count(drawn):
    clip, frames, found, _ = drawn
    detect = build_detector('joints')
    truth, result = detect(pair_of(frames[0], frames[0], clip, 0))
    assert np.isnan(truth[~found.visible[0]]).all() and np.isnan(result[~found.visible[0]]).all()
    plain = np.full_like(frames[0], 90)
    truth, _ = detect(pair_of(plain, frames[0], clip, 0))
    assert np.isnan(truth).all()


def test_a_plain_edge_claims_no_movement_along_itself():
    truth = np.zeros((SIZE, SIZE, 3), 'uint8')
    truth[:, 32:] = 200
    result = shifted(truth, 3, 5)  # only the 3 to the right can be seen
    result[:28, :28] += 1  # what is hardly worse there is as good
    assert find_piece(truth, result, np.array([32.0, 30.0])) == pytest.approx([35, 30])
    with pytest.raises(ValueError, match='plain'):
        find_piece(truth, result, np.array([10.0, 30.0]))


def test_files_of_joints_that_are_no_use(tmp_path, drawn):
    clip, frames, _, _ = drawn
    detect = build_detector('joints')
    with pytest.raises(UserError, match=r'a\.mp4\.npz: 8 frames, but .* has more'):
        detect(pair_of(frames[0], frames[0], clip, 8))
    with pytest.raises(UserError, match=r'other\.npz: no such file'):
        detect(pair_of(frames[0], frames[0], clip.with_name('other'), 0))
    folder = tmp_path / 'joints' / 'test'
    (folder / 'bad.npz').write_bytes(b'nothing')
    write_npz(folder / 'odd.npz', {'points': np.zeros((2, 3)), 'visible': np.zeros((2, 3))})
    for name, message in (('bad', 'no file of joints'), ('odd', 'points of shape')):
        with pytest.raises(UserError, match=message):
            detect(pair_of(frames[0], frames[0], clip.with_name(name), 0))


def fake_mediapipe(monkeypatch, landmarks):
    """A stand-in for the package whose models always find these."""

    class Model:
        def __init__(self, static_image_mode, **_):
            assert static_image_mode  # else a frame's result depends on the frames before

        def process(self, frame):
            assert frame.dtype == np.uint8
            faces = [Thing(landmark=landmarks)] if landmarks else None
            return Thing(multi_face_landmarks=faces, pose_landmarks=faces and faces[0])

    package = ModuleType('mediapipe')
    package.solutions = Thing(face_mesh=Thing(FaceMesh=Model), pose=Thing(Pose=Model))
    monkeypatch.setitem(sys.modules, 'mediapipe', package)
    return package


@pytest.mark.parametrize('name', ['mediapipe-face', 'mediapipe-body'])
def test_mediapipe_landmarks_in_pixels(monkeypatch, name):
    seen = [Thing(x=0.25, y=0.5, visibility=0.9), Thing(x=0.5, y=1.0, visibility=0.1)]
    fake_mediapipe(monkeypatch, seen)
    frame = np.zeros((10, 40, 3), 'uint8')
    points, _ = build_detector(name)(pair_of(frame, frame))
    assert points[0].tolist() == [10, 5]
    if name == 'mediapipe-face':  # faces have no visibility
        assert points[1].tolist() == [20, 10]
    else:
        assert np.isnan(points[1]).all()
    fake_mediapipe(monkeypatch, [])
    assert build_detector(name)(pair_of(frame, frame))[0].size == 0


def test_mediapipe_without_weights_is_told(monkeypatch):
    package = fake_mediapipe(monkeypatch, [])
    del package.solutions
    package.__version__ = '1.2.3'
    with pytest.raises(UserError, match=r'MediaPipe 1\.2\.3 comes without its weights'):
        build_detector('mediapipe-face')
    monkeypatch.setitem(sys.modules, 'mediapipe', None)
    with pytest.raises(UserError, match=r'ModuleNotFoundError.*requirements-mediapipe\.txt'):
        build_detector('mediapipe-face')


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
