"""How a creature moves, whatever creature it is: a pure function from time to joint angles.

Lengths of the legs' motion are in leg lengths of the standard build (LEG in frame units), so that
the same motion starts in the same pose and keeps the feet on the ground on any creature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LEG = 0.25  # length of a standard leg, hip to ankle, in frame units
HALF_BODY = 0.54  # half the distance from hip to shoulder of the standard build, in legs
STAND = 0.965  # height of the hips over the ankles at rest, in legs
MAX_TRAVEL = 0.24  # of the frame's width, left to right

# Legs in the order of every array here.
LEGS = ('near_hind', 'near_fore', 'far_hind', 'far_fore')
IS_HIND = np.array([True, False, True, False])

# When each leg of LEGS sets its foot down, in cycles.
FOOTFALL = {
    'walk': (0.0, 0.75, 0.5, 0.25),
    'trot': (0.0, 0.5, 0.5, 0.0),
    'pace': (0.0, 0.08, 0.5, 0.58),
    'gallop': (0.0, 0.45, 0.12, 0.58),
}
# Kinds of motion and how often each is drawn.
KINDS = {
    'walk': 0.24, 'trot': 0.15, 'pace': 0.09, 'gallop': 0.15, 'hop': 0.11,
    'leap': 0.13, 'stretch': 0.04, 'rear': 0.05, 'graze': 0.03, 'wag': 0.01,
}  # fmt: skip


class Pose(NamedTuple):
    """A creature's pose at T times. Angles in radians, positive = nose up / forward / tail up."""

    x: np.ndarray  # (T,) middle of the body from the frame's centre, frame units
    pitch: np.ndarray  # (T,) of the body
    bend: np.ndarray  # (T,) arch of the back, in body lengths, positive upwards
    neck: np.ndarray  # (T,) added to the build's resting angle
    head: np.ndarray  # (T,) likewise
    tail: np.ndarray  # (T, 2) base and tip, likewise
    ears: np.ndarray  # (T,) likewise
    legs: np.ndarray  # (T, 4, 2) upper and lower segment, 0 = straight down, positive = forward
    foot_up: np.ndarray  # (T, 4) height of each ankle over where it stands, in legs


class Targets(NamedTuple):
    """What a kind of motion decides: the body's path and where the feet are to be."""

    height: np.ndarray  # (T,) of the middle of the body over the ankles, in legs
    pitch: np.ndarray  # (T,)
    foot_x: np.ndarray  # (T, 4) from under the hip or shoulder, in legs
    foot_up: np.ndarray  # (T, 4) in legs
    x: np.ndarray  # (T,) frame units
    neck: np.ndarray  # (T,)
    bend: np.ndarray  # (T,)


def eased(t: np.ndarray, times: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    """Passes through `values` at the rising `times`, at rest there. (...) -> (...)."""
    segment = np.clip(np.searchsorted(times, t, side='right') - 1, 0, len(times) - 2)
    start, stop = np.take(times, segment), np.take(times, segment + 1)
    u = np.clip((t - start) / (stop - start), 0, 1)
    return np.take(values, segment) + np.diff(values)[segment] * u * u * (3 - 2 * u)


def wave(t: np.ndarray) -> np.ndarray:
    """A sine of period 1."""
    return np.sin(2 * np.pi * t)


def leg_angles(targets: Targets) -> np.ndarray:
    """Two-segment inverse kinematics on the standard leg, both halves 0.5. -> (T, 4, 2).

    Hocks point backwards, the knees of the forelegs forwards.
    """
    lever = HALF_BODY * np.sin(targets.pitch)[:, None]
    hip = targets.height[:, None] + np.where(IS_HIND, -lever, lever)
    down = np.maximum(hip - targets.foot_up, 0.2)
    reach = np.minimum(np.hypot(targets.foot_x, down), 0.999)
    toward, half = np.arctan2(targets.foot_x, down), np.arccos(reach)
    half = np.where(IS_HIND, -half, half)
    return np.stack([toward + half, toward - half], axis=-1)


@dataclass(frozen=True)
class Motion:
    """A clip's motion; time runs from 0 to 1 over the whole clip. Loops unless it travels."""

    kind: str  # one of KINDS
    cycles: int = 1  # of the gait within the clip
    start: float = 0.0  # where in its cycle the gait starts
    size: float = 0.5  # of the movement, from 0 (least of its kind) to 1 (most)
    travel: bool = False  # goes forward through the frame (gaits and leaps), else on the spot
    drift: float = 0.0  # to and fro of a gait or leap that doesn't travel, frame units
    offset: float = 0.0  # of the whole clip in x, frame units
    nod: float = 0.1  # radians
    wag: float = 0.3  # radians

    @classmethod
    def random(cls, rng: np.random.Generator, kind: str | None = None) -> Motion:
        """A random motion, of a random kind by default."""
        if kind is None:
            kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        most = {'walk': 2, 'trot': 3, 'pace': 2, 'gallop': 3, 'hop': 3}.get(kind, 1)
        travel = kind in ('walk', 'trot', 'pace', 'leap', 'hop') and rng.random() < 0.5
        cycles = 1 if travel and kind != 'hop' else int(rng.integers(1, most + 1))
        cycles = max(cycles, 2) if kind in ('gallop', 'hop') else cycles
        drifts = kind in FOOTFALL or kind in ('hop', 'leap')
        drift = float(rng.choice([-1, 1]) * rng.uniform(0.05, 0.11))
        return cls(
            kind=kind,
            cycles=cycles,
            start=float(rng.uniform()) if kind in FOOTFALL else 0.0,
            size=float(rng.uniform()),
            travel=travel,
            drift=drift if drifts and not travel else 0.0,
            offset=float(rng.uniform(-0.02, 0.02)),
            nod=float(rng.uniform(0.05, 0.16)),
            wag=float(rng.uniform(0.15, 0.5)),
        )

    def pose(self, times: np.ndarray) -> Pose:
        """The pose at `times` (T,), in clips: 0 is the first frame, 1 the end of the clip."""
        times = np.atleast_1d(np.asarray(times, 'float64'))
        targets = self._targets(times)
        beat = self.cycles * times + self.start
        swing = self.wag * (1.8 if self.kind == 'wag' else 1.0)
        rate = max(self.cycles, 3) if self.kind == 'wag' else self.cycles
        tail = swing * np.stack([wave(rate * times), wave(rate * times - 0.2)], axis=-1)
        return Pose(
            x=targets.x + self.offset,
            pitch=targets.pitch,
            bend=targets.bend,
            neck=targets.neck,
            head=0.6 * self.nod * wave(2 * beat - 0.15) - 0.45 * targets.neck,
            tail=tail - 0.4 * targets.pitch[:, None],
            ears=0.22 * wave(2 * beat + 0.3),
            legs=leg_angles(targets),
            foot_up=targets.foot_up,
        )

    def _targets(self, times: np.ndarray) -> Targets:
        if self.kind in FOOTFALL:
            return self._gait(times)
        if self.kind in ('hop', 'leap'):
            return self._leap(times)
        return self._on_the_spot(times)

    def _gait(self, times: np.ndarray) -> Targets:
        """Feet that stay put on the ground while they carry, and swing forward in an arc."""
        duty = {'walk': 0.62, 'pace': 0.58, 'trot': 0.5, 'gallop': 0.36}[self.kind]
        stride = {'walk': 0.3, 'pace': 0.28, 'trot': 0.3, 'gallop': 0.42}[self.kind]
        stride += 0.1 * self.size
        if self.travel:  # as far as the feet, which don't slide, can carry the body
            stride = min(stride, MAX_TRAVEL * duty / (2 * LEG * self.cycles))
        step = (0.16 if self.kind == 'walk' else 0.24) + 0.1 * self.size
        beat = self.cycles * times + self.start
        phase = (beat[:, None] + np.array(FOOTFALL[self.kind])) % 1
        swing = np.clip((phase - duty) / (1 - duty), 0, 1)
        back = stride * (1 - 2 * phase / duty)
        forth = stride * (2 * swing * swing * (3 - 2 * swing) - 1)
        bounce = {'walk': 0.012, 'pace': 0.02, 'trot': 0.035, 'gallop': 0.06}[self.kind]
        fast = self.kind == 'gallop'
        flight = 0.16 * np.clip(wave(beat + 0.12), 0, 1) if fast else np.zeros_like(beat)
        distance = self.cycles * 2 * stride / duty * LEG
        rock = wave(beat + 0.3) if fast else wave(2 * beat)
        return Targets(
            height=STAND - 0.02 * stride + bounce * wave((1 if fast else 2) * beat) + flight,
            pitch=(0.1 + 0.05 * self.size if fast else 0.025) * rock,
            foot_x=np.where(phase < duty, back, forth),
            foot_up=step * np.sin(np.pi * swing) + flight[:, None],
            x=distance * (times - 0.5) if self.travel else self.drift * wave(times),
            neck=self.nod * wave((1 if fast else 2) * beat + 0.1),
            bend=(0.06 if fast else 0.012) * wave(beat - 0.1),
        )

    def _leap(self, times: np.ndarray) -> Targets:
        """Crouch, take off with the hind legs last, fly along a parabola, land on the forelegs."""
        beat = (self.cycles * times) % 1
        small = self.kind == 'hop'
        high = (0.28 if small else 0.5) + (0.14 if small else 0.3) * self.size
        crouch = 0.8 if small else 0.68
        take_off, land = 0.32, 0.74
        air = np.clip((beat - take_off) / (land - take_off), 0, 1)
        lift = high * 4 * air * (1 - air)
        stand = eased(
            beat,
            (0.0, 0.08, 0.22, take_off, land, 0.84, 1.0),
            (STAND, STAND, crouch, 0.97, 0.97, crouch + 0.06, STAND),
        )
        tuck = (0.22 if small else 0.34) * np.sin(np.pi * air) ** 0.8
        spread = 0.3 * np.sin(np.pi * air) + 0.1 * wave(air)
        # The body leans over its planted feet while crouching; in the air the legs stretch out.
        lean = eased(
            beat, (0.0, 0.1, 0.22, take_off, land, 0.84, 1.0), (0, 0, -0.12, 0.22, -0.2, 0.05, 0)
        )
        foot_x = -lean[:, None] + spread[:, None] * np.where(IS_HIND, -1.0, 1.0)
        progress = np.floor(self.cycles * times) + 0.5 * (air + eased(air, (0.0, 1.0), (0, 1)))
        distance = min(0.1 * self.cycles, MAX_TRAVEL) if small else 0.18
        path = distance * (progress / self.cycles - 0.5)
        pitch = 0.24 * (0.7 if small else 1.0) * np.sin(2 * np.pi * air) * (1 - 0.3 * air)
        nose = eased(beat, (0.0, 0.1, 0.22, 0.4, 0.7, 0.84, 1.0), (0, 0, -0.25, 0.2, 0, -0.2, 0))
        return Targets(
            height=stand + lift,
            pitch=pitch,
            foot_x=foot_x,
            foot_up=lift[:, None] + tuck[:, None] * np.where(IS_HIND, 0.8, 1.0),
            x=(path if self.travel else self.drift * wave(times)) + LEG * lean,
            neck=nose * (0.7 if small else 1.2),
            bend=0.05 * np.sin(np.pi * air) - 0.04 * (STAND - stand),
        )

    def _on_the_spot(self, times: np.ndarray) -> Targets:
        """Stretching, rearing, grazing and wagging, with feet planted where they are."""
        amount = 0.75 + 0.25 * self.size
        plan = {  # times, then values of pitch, height, lean in legs, neck
            'stretch': ((0.0, 0.3, 0.5, 0.75, 1.0), (0, -0.36, -0.36, 0.2, 0),
                        (0, -0.2, -0.2, 0.0, 0), (0, -0.42, -0.42, 0.32, 0),
                        (0, 0.5, 0.3, 0.3, 0)),
            'rear': ((0.0, 0.14, 0.4, 0.68, 0.92, 1.0), (0, -0.08, 0.6, 0.55, 0, 0),
                     (0, -0.1, 0.3, 0.26, -0.05, 0), (0, 0.05, -0.3, -0.26, 0.05, 0),
                     (0, -0.15, 0.1, -0.1, -0.1, 0)),
            'graze': ((0.0, 0.32, 0.42, 0.52, 0.8, 1.0), (0, -0.14, -0.12, -0.14, 0.06, 0),
                      (0, -0.1, -0.08, -0.1, 0.02, 0), (0, 0.34, 0.26, 0.34, -0.2, 0),
                      (0, -1.25, -1.05, -1.25, 0.3, 0)),
            'wag': ((0.0, 0.25, 0.5, 0.75, 1.0), (0, -0.16, 0.06, -0.16, 0),
                    (0, -0.2, 0, -0.2, 0), (0, 0.36, 0, -0.36, 0), (0, 0.35, -0.2, 0.3, 0)),
        }[self.kind]  # fmt: skip
        pitch, height, lean, neck = (amount * eased(times, plan[0], v) for v in plan[1:])
        foot_x = np.repeat(-lean[:, None], len(LEGS), axis=1)
        foot_up = np.zeros_like(foot_x)
        if self.kind == 'rear':  # the forelegs hang and paw
            raised = np.clip(pitch / 0.4, 0, 1)[:, None]
            paw = np.stack([wave(3 * times), -wave(3 * times)], axis=-1)
            hip = STAND + height[:, None] + HALF_BODY * np.sin(pitch)[:, None]
            foot_x[:, ~IS_HIND] += raised * (0.62 + 0.12 * paw)
            foot_up[:, ~IS_HIND] = raised * np.maximum(hip - 0.42 - 0.1 * paw, 0)
        return Targets(
            height=STAND + height,
            pitch=pitch,
            foot_x=foot_x,
            foot_up=foot_up,
            x=LEG * lean,
            neck=neck,
            bend=-0.12 * pitch,
        )
