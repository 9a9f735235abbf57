"""Clips opened, and their tracks chosen. What libav raises about a file becomes one line here."""

import contextlib
import errno
import functools
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import av

from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike, open_file
from modules.video.limits import CLIP, check_pixels

PYAV = int(av.__version__.split('.')[0])
# PyAV 19 reads metadata that is not UTF-8 by itself; older ones must be told not to fail on it.
LENIENT = {'metadata_errors': 'replace'} if PYAV < 19 else {}
# "file" keeps playlists from reaching for the network. PNGs that are to be shown as fast as can be,
# which libav would do, are shown as browsers do: delays up to 1/100 s count for 1/10 s.
OPTIONS = {'protocol_whitelist': 'file', 'max_fps': '99', 'default_fps': '10'}
# They read other files, which a list or playlist names, or wait for a sender; or make art of texts.
_LISTS = frozenset((
    *('concat', 'dash', 'hls', 'image2', 'image2pipe', 'imf', 'lavfi', 'rtp', 'rtsp', 'sap', 'sdp'),
    *('tty', 'vobsub', 'webm_dash_manifest'),
))  # fmt: skip
_NO_VIDEO = 'not a video; give a video or a folder of pictures'
# How the names of clips end, in data sets; what libav can play besides is played as well.
CLIP_SUFFIXES = (
    *('.3g2', '.3gp', '.apng', '.asf', '.avi', '.divx', '.dv', '.f4v', '.flv', '.gif', '.m2t'),
    *('.m2ts', '.m2v', '.m4v', '.mjpeg', '.mjpg', '.mkv', '.mov', '.mp4', '.mpe', '.mpeg', '.mpg'),
    *('.mts', '.mxf', '.nut', '.ogm', '.ogv', '.ogx', '.qt', '.rm', '.rmvb', '.ts', '.vob'),
    *('.webm', '.wmv', '.wtv', '.y4m'),
)
Track = TypeVar('Track', av.VideoStream, av.AudioStream)
# Pictures that are no clip: the cover of a song, the previews of a film.
NO_CLIP = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


def fraction(rational: Any) -> Fraction:
    """PyAV's rational numbers: Fractions up to its version 18, of a class of their own since 19."""
    return Fraction(rational.numerator, rational.denominator)


def damage_error(path: PathLike, frame: int, frame_count: int | None) -> UserError:
    total = f' of {frame_count}' if frame_count else ''
    return UserError(
        f'{path}: damaged after frame {frame}{total}; re-encode it or cut it before that point'
    )


@contextlib.contextmanager
def errors_named(path: PathLike) -> Iterator[None]:
    """Turns whatever a decoder raises about the clip at `path` into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        what = 'needs more memory than there is' if isinstance(error, MemoryError) else str(error)
        what = ' '.join(what.split()) or type(error).__name__
        raise UserError(
            f'{path}: can not be decoded ({what}); convert it to H.264 in mp4'
        ) from error


@contextlib.contextmanager
def open_clip(path: PathLike) -> Iterator[av.container.InputContainer]:
    """Opens a file that libav takes for a clip.

    Raises:
        UserError: no such file, no clip, or one that is cut short. What the body raises passes.
    """
    try:
        open_file(path).close()
    except OSError as error:
        if not (isinstance(error, PermissionError) and os.path.exists(path)):  # said below
            raise UserError(f'{path}: {reason_of(error)}; give the path of a video') from error
    with _open(path) as container:
        # libav would play a still picture as a clip of one frame.
        if container.format.name.endswith('_pipe'):
            raise UserError(f'{path}: {_NO_VIDEO}')
        yield container


def _open(path: PathLike) -> av.container.InputContainer:
    with errors_named(path):
        try:
            # "file:" keeps a colon in a name from being taken for a protocol.
            options = {**OPTIONS, 'format_whitelist': _formats()}
            return av.open(f'file:{os.fspath(path)}', container_options=options, **LENIENT)
        except av.error.PermissionError as error:
            raise UserError(f'{path}: no permission to read it; change its permissions') from error
        except av.FFmpegError as error:
            if error.errno == errno.EINVAL:  # of a format that is not among those above
                raise UserError(f'{path}: {_NO_VIDEO}') from error
            raise UserError(
                f'{path}: not a video, or one cut short; download or convert it again'
            ) from error


@functools.cache
def _formats() -> str:
    """The names of all formats that libav may read here."""
    return ','.join(sorted(av.formats_available - _LISTS))


def picture_tracks(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Those that are clips, whether they can be decoded or not."""
    return [stream for stream in container.streams.video if not stream.disposition & NO_CLIP]


def picture_track(container: av.container.InputContainer, path: PathLike) -> av.VideoStream:
    """The track of pictures that players show: the default one.

    Raises:
        UserError: none, none that can be decoded, or one of too large frames.
    """
    tracks = picture_tracks(container)
    known = _known(tracks)
    if known:
        # An animated AVIF holds its first picture once more, as a track of its own.
        moving = [stream for stream in known if stream.frames != 1]
        track = _default(moving or known)
        check_pixels(path, track.codec_context.width, track.codec_context.height, CLIP)
        return track
    if tracks:
        raise UserError(f'{path}: its video codec is unknown to libav; convert it to H.264')
    raise UserError(f'{path}: no video in it; give a clip with moving pictures')


def sound_track(container: av.container.InputContainer) -> av.AudioStream | None:
    """The sound track that players play: the default one; None where none can be decoded."""
    known = _known(container.streams.audio)
    return _default(known) if known else None


def _known(tracks: Sequence[Track]) -> list[Track]:
    return [track for track in tracks if track.codec_context is not None]


def _default(tracks: Sequence[Track]) -> Track:
    """The first that is marked as the default; else the first."""
    marked = (track for track in tracks if track.disposition & av.stream.Disposition.default)
    return next(marked, tracks[0])
