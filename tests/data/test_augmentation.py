"""Augmentation: expected values are worked out here with NumPy alone."""

import itertools
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from modules.data.augmentation import (
    AllAugmentationTransform,
    ColorJitter,
    RandomCrop,
    RandomFlip,
    RandomResize,
    RandomRotation,
    shift_hue,
    to_float,
)

DRAWS = 400


class Fixed:
    """A generator whose uniform draws are a part of their range, and whose orders are given."""

    def __init__(self, part=0.5, order=None):
        self.part, self.order = part, order

    def uniform(self, low, high):
        return low + self.part * (high - low)

    def permutation(self, count):
        return self.order if self.order is not None else range(count)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def noise(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


# ---- the 8-bit arithmetic of Pillow, which torchvision's jitter is defined by ----


def blend(start, end, factor):
    mixed = np.float32(start) + np.float32(factor) * (np.float32(end) - np.float32(start))
    return np.trunc(np.clip(mixed, 0, 255)).astype(np.uint8)


def luma(frame):
    red, green, blue = np.moveaxis(frame.astype(np.int64), -1, 0)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def brightened(frame, factor):
    return blend(np.zeros_like(frame), frame, factor)


def contrasted(frame, factor):
    return blend(np.full_like(frame, int(luma(frame).mean() + 0.5)), frame, factor)


def saturated(frame, factor):
    return blend(np.repeat(luma(frame)[..., None], 3, -1), frame, factor)


def to_hsv(frame):
    """Fractions are float32 numbers, what is computed with them float64, as in Pillow."""
    red, green, blue = np.moveaxis(frame.astype(np.float32), -1, 0)
    high, low = frame.max(-1).astype(np.float32), frame.min(-1).astype(np.float32)
    spread = np.where(high > low, high - low, np.float32(1))
    parts = [((high - c) / spread).astype(np.float64) for c in (red, green, blue)]
    hue = np.where(
        red == high,
        (parts[2] - parts[1]).astype(np.float32),
        np.where(green == high, 2 + parts[0] - parts[2], 4 + parts[1] - parts[0]),
    ).astype(np.float32)
    hue = np.fmod(hue.astype(np.float64) / 6 + 1, 1).astype(np.float32)
    saturation = (high - low) / np.maximum(high, np.float32(1))
    hue, saturation = (np.trunc(x.astype(np.float64) * 255) for x in (hue, saturation))
    return (hue * (high > low)).astype(int), saturation, high.astype(np.float64)


def from_hsv(hue, saturation, value):
    sector = np.floor(hue * 6 / 255).astype(int)
    rest = (hue * 6 / 255 - sector).astype(np.float32).astype(np.float64)
    part = (saturation / 255).astype(np.float32).astype(np.float64)
    p, q, t = (np.floor(value * (1 - part * x) + 0.5) for x in (1, rest, 1 - rest))
    reds = (value, q, p, p, t, value)
    greens = (t, value, value, q, p, p)
    blues = (p, p, t, value, value, q)
    channels = [np.choose(sector % 6, choices) for choices in (reds, greens, blues)]
    return np.stack(channels, -1).astype(np.uint8)


@pytest.mark.parametrize('part', [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    'option, expected',
    [('brightness', brightened), ('contrast', contrasted), ('saturation', saturated)],
)
def test_jitter_is_pillows_arithmetic(rng, option, expected, part):
    clip = noise(rng, 2, 17, 23, 3)
    clip[1] //= 2  # the mean that contrast keeps is each frame's own
    got = ColorJitter(**{option: 0.8})(clip, Fixed(part))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, [expected(frame, 0.2 + 1.6 * part) for frame in clip])


def test_a_factor_is_never_negative(rng):
    clip = noise(rng, 2, 5, 5, 3)
    got = ColorJitter(contrast=3)(clip, Fixed(0))  # from [0, 4], not [-2, 4]
    np.testing.assert_array_equal(got, [contrasted(frame, 0) for frame in clip])


def turned(picture, shift):
    return shift_hue(picture.transpose(2, 0, 1)[np.newaxis], shift)[0].transpose(1, 2, 0)


@pytest.mark.parametrize('shift', [-0.5, -0.11, -0.001, 0.0, 0.25, 0.5])
def test_hue_is_shifted_in_hsv(rng, shift):
    frame = noise(rng, 40, 50, 3)
    frame[:5] = frame[:5, :, :1]  # grays have no hue
    hue, saturation, value = to_hsv(frame)
    expected = from_hsv((hue + int(shift * 255)) % 256, saturation, value)
    np.testing.assert_array_equal(turned(frame, shift), expected)


@pytest.mark.parametrize('shift', [-0.5, -0.1, 0.004, 0.3])
def test_colours_of_all_kinds_turn_as_in_pillow(shift):
    levels = np.arange(256, dtype=np.uint8)
    picture = np.empty((256, 256, 3), np.uint8)
    picture[..., 1], picture[..., 2] = levels[:, None], levels
    for red in levels[::15]:
        picture[..., 0] = red
        hue, saturation, value = Image.fromarray(picture).convert('HSV').split()
        hue = hue.point([(level + int(shift * 255)) % 256 for level in range(256)])
        expected = Image.merge('HSV', (hue, saturation, value)).convert('RGB')
        np.testing.assert_array_equal(turned(picture, shift), expected)


@pytest.mark.parametrize('order', list(itertools.permutations(range(3))))
def test_jitter_is_pillows_enhancing_frame_by_frame(rng, order):
    clip = noise(rng, 2, 19, 31, 3)
    clip[1] //= 3
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for part in rng.random(20):
        pictures = [Image.fromarray(frame) for frame in clip]
        for number in order:
            pictures = [enhancers[number](p).enhance(0.1 + 1.8 * part) for p in pictures]
        got = ColorJitter(0.9, 0.9, 0.9)(clip, Fixed(part, order))
        np.testing.assert_array_equal(got, np.stack([np.asarray(p) for p in pictures]))


def test_jitter_of_planes_and_of_pixels_in_any_layout(rng):
    clip = noise(rng, 2, 10, 12, 3)
    jitter = ColorJitter(0.3, 0.3, 0.3, 0.3)
    expected = jitter(clip, Fixed(0.8))
    planar = np.ascontiguousarray(clip.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    mirrored = np.ascontiguousarray(clip[:, :, ::-1])[:, :, ::-1]
    for same in (planar, mirrored):
        np.testing.assert_array_equal(jitter(same, Fixed(0.8)), expected)
    # what the dataset hands to the networks needs no further copy
    assert expected.transpose(0, 3, 1, 2).flags.c_contiguous


def test_hue_jitter_draws_from_both_sides(rng):
    clip = np.zeros((1, 1, 1, 3), np.uint8)
    clip[..., 0] = 255
    jitter = ColorJitter(hue=0.2)
    colours = np.array([jitter(clip, rng)[0, 0, 0] for _ in range(DRAWS)])
    assert (colours[:, 0] == 255).sum() > DRAWS / 2  # within a sixth of a turn, red stays full
    assert colours[:, 1].max() > 200 and colours[:, 2].max() > 200


def test_changes_come_in_the_order_drawn(rng):
    clip = noise(rng, 2, 9, 9, 3)
    jitter = ColorJitter(brightness=0.5, contrast=0.5)
    first = jitter(clip, Fixed(0.9, order=[0, 1]))
    second = jitter(clip, Fixed(0.9, order=[1, 0]))
    np.testing.assert_array_equal(first, [contrasted(brightened(f, 1.4), 1.4) for f in clip])
    np.testing.assert_array_equal(second, [brightened(contrasted(f, 1.4), 1.4) for f in clip])


def test_every_order_occurs(rng):
    orders = Counter()

    class Recording(Fixed):
        def permutation(self, count):
            order = rng.permutation(count)
            orders[tuple(order)] += 1
            return order

    jitter = ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1)
    clip = noise(rng, 1, 2, 2, 3)
    for _ in range(DRAWS):
        jitter(clip, Recording())
    assert len(orders) == 24


def test_jitter_rounds_floats_to_8_bits(rng):
    clip = noise(rng, 2, 8, 8, 3)
    jitter = ColorJitter(saturation=0.4)
    np.testing.assert_array_equal(jitter(to_float(clip), Fixed(0.8)), jitter(clip, Fixed(0.8)))


def test_nothing_to_jitter_changes_nothing(rng):
    clip = noise(rng, 2, 8, 8, 3)
    np.testing.assert_array_equal(ColorJitter()(clip, rng), clip)


# ---- flips ----


def flips_of(clip, flip, rng):
    kinds = {
        clip.tobytes(): 'same',
        clip[::-1].tobytes(): 'time',
        clip[:, :, ::-1].tobytes(): 'space',
    }
    return Counter(kinds.get(flip(clip, rng).tobytes(), 'both') for _ in range(DRAWS))


@pytest.mark.parametrize(
    'options, expected',
    [
        ({'time_flip': True, 'horizontal_flip': True}, {'time': 0.5, 'space': 0.25, 'same': 0.25}),
        ({'time_flip': True}, {'time': 0.5, 'same': 0.5}),
        ({'horizontal_flip': True}, {'space': 0.5, 'same': 0.5}),
        ({}, {'same': 1}),
    ],
)
def test_flips(rng, options, expected):
    counts = flips_of(noise(rng, 2, 3, 4, 3), RandomFlip(**options), rng)
    assert set(counts) == set(expected)
    for kind, share in expected.items():
        assert counts[kind] / DRAWS == pytest.approx(share, abs=0.1)


# ---- rotation, resize, crop ----


def test_rotation_turns_counter_clockwise(rng):
    clip = noise(rng, 2, 6, 6, 3)
    turned = RandomRotation([90, 90])(clip, rng)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned, np.rot90(to_float(clip), axes=(1, 2)), atol=1e-5)


def test_rotation_draws_an_angle_either_way_and_fills_with_black(rng):
    rotation = RandomRotation(30)
    assert (rotation.low, rotation.high) == (-30, 30)
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    assert RandomRotation([30, 30])(white, rng)[0, 0, 0].max() == 0
    assert RandomRotation([30, 30])(white, rng)[0, 16, 16].min() == 1


@pytest.mark.parametrize('factor', [0.8, 0.93, 1.0, 1.04, 1.33])
def test_nearest_resize_takes_the_pixel_under_the_centre(rng, factor):
    clip = noise(rng, 2, 51, 40, 3)
    resized = RandomResize([factor, factor])(clip, rng)
    height, width = int(51 * factor), int(40 * factor)
    rows = ((np.arange(height) + 0.5) * 51 / height).astype(int)
    columns = ((np.arange(width) + 0.5) * 40 / width).astype(int)
    assert resized.dtype == np.float32
    expected = to_float(clip)[:, rows][:, :, columns]
    np.testing.assert_allclose(resized, expected, atol=1e-6)


def test_shrinking_blurs_first_against_black(rng):
    clip = noise(rng, 1, 21, 21, 3)
    kernel = np.exp(-(np.arange(-4.0, 5) ** 2) / 2)  # a third of the size: a deviation of 1 pixel
    kernel /= kernel.sum()
    wide = np.pad(to_float(clip[0]), ((4, 4), (4, 4), (0, 0)))
    rows = sum(weight * wide[shift : shift + 21] for shift, weight in enumerate(kernel))
    blurred = sum(weight * rows[:, shift : shift + 21] for shift, weight in enumerate(kernel))
    resized = RandomResize([1 / 3, 1 / 3])(clip, rng)
    np.testing.assert_allclose(resized[0], blurred[1::3, 1::3], atol=1e-5)


def test_bilinear_resize_interpolates(rng):
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 20, axis=0)
    clip = np.repeat(ramp, 3, axis=2)[None]  # 20 x 20, values rise by 10 from column to column
    resized = RandomResize([2, 2], 'bilinear')(clip, rng)[0, 20, :, 0] * 255
    np.testing.assert_allclose(resized[1:-1], np.arange(1, 39) * 5 - 2.5, atol=0.01)


def test_resize_draws_one_factor_for_both_sides(rng):
    clip = np.zeros((1, 100, 100, 3), np.uint8)
    sizes = np.array([RandomResize([0.9, 1.1])(clip, rng).shape[1:3] for _ in range(60)])
    assert (sizes[:, 0] == sizes[:, 1]).all()
    assert sizes.min() >= 90 and sizes.max() <= 110 and np.ptp(sizes) > 12


def test_crop_places_are_uniform_and_the_same_for_all_frames(rng):
    height, width = 5, 7
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows, columns, rows], -1).astype(np.uint8)
    places = Counter()
    for _ in range(DRAWS):
        first, second = RandomCrop([4, 5])(np.stack([frame, frame]), rng)
        np.testing.assert_array_equal(first, second)
        y, x = first[0, 0, :2]
        np.testing.assert_array_equal(first, frame[y : y + 4, x : x + 5])
        places[y, x] += 1
    assert set(places) == {(y, x) for y in range(2) for x in range(3)}
    assert min(places.values()) > DRAWS / 12


def test_crop_repeats_the_border_of_small_frames(rng):
    frame = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    cropped = RandomCrop(5)(frame, rng)
    assert cropped.shape == (1, 5, 5, 3)
    at = [0, 0, 1, 1, 1]  # one row above, two below
    np.testing.assert_array_equal(cropped, frame[:, at][:, :, at])


def test_crop_pads_one_side_and_cuts_the_other(rng):
    clip = noise(rng, 2, 3, 9, 3)
    starts = set()
    for _ in range(50):
        cropped = RandomCrop([4, 6])(clip, rng)
        np.testing.assert_array_equal(cropped[:, 2], cropped[:, 3])  # the last row, repeated
        starts |= {x for x in range(4) if (cropped[:, :3] == clip[:, :, x : x + 6]).all()}
    assert starts == {0, 1, 2, 3}


# ---- all of them ----


def test_parts_come_in_the_official_order():
    params = {
        'jitter_param': {'hue': 0.1},
        'crop_param': {'size': [8, 8]},
        'resize_param': {},
        'rotation_param': {'degrees': 5},
        'flip_param': {},
    }
    kinds = [type(part) for part in AllAugmentationTransform(**params).transforms]
    assert kinds == [RandomFlip, RandomRotation, RandomResize, RandomCrop, ColorJitter]
    assert AllAugmentationTransform(flip_param=None).transforms == []


def test_same_generator_same_result_and_the_clip_stays(rng):
    clip = noise(rng, 2, 20, 20, 3)
    before = clip.copy()
    everything = AllAugmentationTransform(
        flip_param={'time_flip': True, 'horizontal_flip': True},
        rotation_param={'degrees': 20},
        resize_param={'ratio': [0.8, 1.2], 'interpolation': 'bilinear'},
        crop_param={'size': 20},
        jitter_param={'brightness': 0.2, 'contrast': 0.2, 'saturation': 0.2, 'hue': 0.2},
    )
    one, two, other = (everything(clip, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (2, 20, 20, 3)
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    np.testing.assert_array_equal(clip, before)


def test_both_frames_get_the_same_changes(rng):
    frame = noise(rng, 1, 24, 24, 3)
    everything = AllAugmentationTransform(
        flip_param={'time_flip': True, 'horizontal_flip': True},
        rotation_param={'degrees': 20},
        resize_param={},
        crop_param={'size': 20},
        jitter_param={'brightness': 0.5, 'contrast': 0.5, 'saturation': 0.5, 'hue': 0.5},
    )
    for _ in range(10):
        first, second = everything(np.concatenate([frame, frame]), rng)
        np.testing.assert_array_equal(first, second)
