#!/bin/sh
# A decoder forgets what the container says of colours, if the pictures say a part of it.
#
# Expected: an mp4 marked as HLG, whose H.264 leaves the transfer function open, gives frames marked as
# HLG, as players show it; so it is with VP9, and with H.264 that says nothing at all.
# Happens: the frames are marked as unspecified, and by then the codec context is as well.
# Seen with: PyAV 18.1.0, which needs Python 3.11 or newer; HEVC likewise.
# Way out: keep the tags of the codec context before the first packet is decoded.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import av
import numpy as np

HLG, BT2020, UNSPECIFIED = 18, 9, 2


def marks(params):
    """The transfer function by the container, by the first frame, and by the context after that."""
    with av.open('a.mp4', 'w') as clip:
        track = clip.add_stream('libx264', rate=25, options={'x264-params': params})
        track.width = track.height = 64
        track.pix_fmt = 'yuv420p'
        track.codec_context.color_trc = HLG
        track.codec_context.color_primaries = track.codec_context.colorspace = BT2020
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), 'rgb24')
        clip.mux(track.encode(frame.reformat(format='yuv420p')))
        clip.mux(track.encode(None))
    with av.open('a.mp4') as clip:
        context = clip.streams.video[0].codec_context
        before = context.color_trc
        return before, next(clip.decode(video=0)).color_trc, context.color_trc


all_of_it = marks('')
a_part = marks('transfer=undef:colorprim=undef')
print('the pictures say all:    container, frame, context afterwards:', *all_of_it)
print('the pictures say a part: container, frame, context afterwards:', *a_part)
assert all_of_it == (HLG, HLG, HLG) and a_part == (HLG, UNSPECIFIED, UNSPECIFIED), 'this has changed'
END
