"""What argparse makes of the values of options; each says what to give instead."""

import argparse
import contextlib
import math
import re
from collections.abc import Callable
from fractions import Fraction

from modules.animation.boxes import Box
from modules.animation.composing import LARGEST
from modules.animation.timeline import Moment

ALL_FACES = 'all'  # of --faces
RATES = Fraction(1, 10), Fraction(240)  # of --fps
SPEEDS = Fraction(1, 100), Fraction(100)  # of --speed
MOST_UPSCALED = 16


def faces(text: str) -> int | None:
    """How many; None for all."""
    if text == ALL_FACES:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: give all, or a number of at least 1')
    return int(text)


def size(text: str) -> tuple[int, int]:
    """W,H -> (width, height)."""
    numbers = text.replace('x', ',').split(',')
    if len(numbers) != 2 or not all(n.isdecimal() and 0 < int(n) <= LARGEST for n in numbers):
        raise argparse.ArgumentTypeError(
            f'{text}: give width and height in pixels, such as 1280,720; {LARGEST} at most'
        )
    return int(numbers[0]), int(numbers[1])


def upscaling(text: str) -> float:
    value = _float(text)
    if not 0 < value <= MOST_UPSCALED:
        raise argparse.ArgumentTypeError(
            f'{text}: give a factor above 0, such as 2; {MOST_UPSCALED} at most'
        )
    return value


def motion_scale(text: str) -> float:
    value = _float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'{text}: give a number of at least 0')
    return value


def minutes(text: str) -> float:
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text}: give a number of minutes above 0')
    return value


def box(text: str) -> Box:
    """x,y,w,h -> Box."""
    try:
        x, y, w, h = (float(number) for number in text.split(','))
    except ValueError:
        x = y = w = h = math.nan
    if not all(map(math.isfinite, (x, y, w, h))) or w < 1 or h < 1:
        raise argparse.ArgumentTypeError(
            f'{text}: give four numbers x,y,w,h: left, top, width and height in pixels'
        )
    return Box(x, y, w, h)


def moment(text: str) -> Moment:
    try:
        return Moment.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def rate(text: str) -> Fraction:
    """Decimals like 29.97 stand for the rates of television, here 30000/1001."""
    value = _fraction(text, RATES, 'frames per second')
    whole = round(value * Fraction(1001, 1000))
    television = Fraction(whole * 1000, 1001)
    is_meant = value.denominator > 1 and whole >= 10 and abs(value - television) < Fraction(1, 200)
    return television if is_meant else value


def speed(text: str) -> Fraction:
    return _fraction(text, SPEEDS, 'a factor')


def _fraction(text: str, limits: tuple[Fraction, Fraction], what: str) -> Fraction:
    """A decimal number or a fraction such as 30000/1001, exact."""
    least, most = limits
    with contextlib.suppress(ZeroDivisionError):
        if re.fullmatch(r'[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?|\.[0-9]{1,9}', text):
            number = Fraction(text)
            if least <= number <= most:
                return number
    raise argparse.ArgumentTypeError(f'{text}: give {what} from {float(least):g} to {most}')


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def at_least(least: int) -> Callable[[str], int]:
    """A whole number."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f'{text}: give a whole number of at least {least}')
        return value

    return number


def share(most: float) -> Callable[[str], float]:
    """A number from 0 to `most`."""

    def number(text: str) -> float:
        value = _float(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f'{text}: give a number from 0 to {most:g}')
        return value

    return number
