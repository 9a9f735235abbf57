import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.clips import beep, drawn, encode, heard, write
from tests.support.places import full_disk


def sound_bytes(path):
    with av.open(str(path)) as c:
        return [bytes(packet) for packet in c.demux(audio=0) if packet.size]


@pytest.mark.parametrize(
    ('name', 'codec', 'rate', 'copied'),
    [
        ('s.mp4', 'aac', 44100, True),
        ('s.mkv', 'aac', 44100, True),
        ('s.ts', 'aac', 44100, True),
        ('s.avi', 'libmp3lame', 44100, True),
        ('s.flv', 'libmp3lame', 44100, True),
        ('s.mov', 'pcm_s16le', 44100, False),
        ('s.mkv', 'libopus', 48000, False),
        ('s.mkv', 'flac', 96000, False),
    ],
)
@pytest.mark.parametrize('target', ['a.mp4', 'a.mkv'])
def test_sound(tmp_path, name, codec, rate, copied, target, capfd):
    source = beep(tmp_path / name, codec, rate)
    writer = write(tmp_path / target, drawn(30), audio_from=source)
    assert writer.audio_warning is None
    with VideoReader(tmp_path / target) as reader:
        assert reader.has_audio and reader.frame_count == 30 and reader.fps == 25
    onset, end = heard(tmp_path / target)
    with av.open(str(tmp_path / target)) as c:
        zero = float(c.streams.video[0].start_time * c.streams.video[0].time_base)
    assert abs(onset - zero - 0.5) < 0.03
    assert abs(end - zero - 30 / 25) < 0.06
    if copied and name != 's.ts':  # ADTS headers go
        packets = sound_bytes(tmp_path / target)
        assert packets == sound_bytes(source)[: len(packets)]
    assert capfd.readouterr() == ('', '')


def test_sound_ends_before_the_pictures(tmp_path):
    source = beep(tmp_path / 's.mp4', 'aac', seconds=1.0)
    write(tmp_path / 'a.mp4', drawn(75), audio_from=source)
    assert abs(heard(tmp_path / 'a.mp4')[1] - 1) < 0.06
    assert len(list(VideoReader(tmp_path / 'a.mp4'))) == 75


@pytest.mark.parametrize(
    ('name', 'codec'),
    [('s.mkv', 'aac'), ('s.mkv', 'libopus'), ('s.ts', 'aac'), ('s.ts', 'ac3'), ('s.flv', 'aac')],
)
@pytest.mark.parametrize('late', [0.12, 0.4, 0, -0.2])
def test_sound_of_a_clip_that_starts_late(tmp_path, name, codec, late):
    """Cut out of a longer one by a program that keeps the time stamps: nothing is at second 0."""
    rate = 44100 if name == 's.flv' else 48000
    source = beep(tmp_path / name, codec, rate, start=5, late=late)
    write(tmp_path / 'a.mp4', drawn(40), audio_from=source)
    assert abs(heard(tmp_path / 'a.mp4')[0] - (0.5 - late)) < 0.03


@pytest.mark.parametrize('codec', ['aac', 'flac'])
def test_damaged_sound_is_said(tmp_path, codec):
    source = beep(tmp_path / 's.mkv', codec)
    with av.open(str(source)) as old, av.open(str(tmp_path / 'broken.mkv'), 'w') as new:
        tracks = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux(audio=0):
            if packet.size:
                broken = av.Packet(b'\x7f' * packet.size if packet.pts > 400 else bytes(packet))
                broken.pts = broken.dts = packet.pts
                broken.time_base, broken.stream = packet.time_base, tracks[1]
                new.mux(broken)
    writer = write(tmp_path / 'a.mp4', drawn(30), audio_from=tmp_path / 'broken.mkv')
    assert len(list(VideoReader(tmp_path / 'a.mp4'))) == 30
    # What is copied is not looked into.
    assert codec == 'aac' or 'damaged sound' in writer.audio_warning


@pytest.mark.parametrize('codec', ['aac', 'flac'])
def test_sound_whose_time_runs_backwards(tmp_path, codec):
    source = beep(tmp_path / 's.mkv', codec)
    data, packets = bytearray(source.read_bytes()), sound_bytes(source)
    block = data.index(packets[8])
    assert data[block - 4] == 0x82  # its track, then its time in the cluster, then flags
    data[block - 3 : block - 1] = struct.pack('>h', -100)
    source.write_bytes(data)
    writer = write(tmp_path / 'a.mp4', drawn(30), audio_from=source)
    assert writer.audio_warning is None
    onset, end = heard(tmp_path / 'a.mp4')
    assert abs(onset - 0.5) < 0.03 and abs(end - 30 / 25) < 0.06
    assert len(list(VideoReader(tmp_path / 'a.mp4'))) == 30
    if codec == 'aac':
        copied = sound_bytes(tmp_path / 'a.mp4')
        assert copied == packets[: len(copied)]


def test_sound_at_a_rate_that_aac_does_not_know(tmp_path):
    source = beep(tmp_path / 's.mkv', 'flac', 30000)
    write(tmp_path / 'a.mp4', drawn(30), audio_from=source)
    assert abs(heard(tmp_path / 'a.mp4')[0] - 0.5) < 0.03


def test_sound_that_can_not_be_decoded(tmp_path):
    source = beep(tmp_path / 's.mkv', 'libopus', 48000)
    header = b'OpusHead\x01'
    source.write_bytes(source.read_bytes().replace(header, b'OpusHead\xff'))  # its version
    writer = write(tmp_path / 'a.mp4', drawn(30), audio_from=source)
    assert writer.audio_warning == f'{source}: unusable sound track; written without it'
    with VideoReader(tmp_path / 'a.mp4') as reader:
        assert len(list(reader)) == 30 and not reader.has_audio
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 's.mkv']


def test_the_first_sound_track_that_is_known_counts(tmp_path):
    with av.open(str(tmp_path / 's.mkv'), 'w') as c:
        kinds = ('libmp3lame', 'aac')
        tracks = [c.add_stream(codec, rate=44100, layout='mono') for codec in kinds]
        for i in range(50):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
            silence.sample_rate, silence.time_base = 44100, Fraction(1, 44100)
            silence.pts = 1024 * i
            for track in tracks:
                c.mux(track.encode(silence))
    data = (tmp_path / 's.mkv').read_bytes()
    assert b'A_MPEG/L3' in data
    (tmp_path / 's.mkv').write_bytes(data.replace(b'A_MPEG/L3', b'A_UNKNOWN'))
    writer = write(tmp_path / 'a.mp4', drawn(10), audio_from=tmp_path / 's.mkv')
    told = f'{tmp_path / "s.mkv"}: 2 sound tracks, of which the default one is kept'
    assert writer.audio_warning == told
    with av.open(str(tmp_path / 'a.mp4')) as c:
        assert [track.codec_context.name for track in c.streams.audio] == ['aac']


@pytest.mark.parametrize(
    ('name', 'codec', 'rate'),
    [
        ('s.ts', 'aac', 44100),
        ('s.ts', 'ac3', 48000),
        ('s.mkv', 'aac', 44100),
        ('s.mkv', 'libopus', 48000),
    ],
)
def test_the_sound_of_joined_clips(tmp_path, name, codec, rate):
    """In step with the pictures, which follow each other without a gap."""
    source = beep(tmp_path / name, codec, rate)
    source.write_bytes(2 * source.read_bytes())
    with VideoReader(source) as reader:
        assert (reader.frame_count, reader.fps) == (100, 25)
        writer = write(tmp_path / 'a.mp4', reader, audio_from=source)
    assert writer.audio_warning is None
    with av.open(str(tmp_path / 'a.mp4')) as c:
        loud = []
        for frame in c.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(float)).max(axis=0)
            start = float(frame.pts * frame.time_base)
            loud += [start + place / frame.sample_rate for place in np.flatnonzero(wave > 0.1)]
    loud = np.array(loud)
    pauses = np.flatnonzero(np.diff(loud) > 0.3)
    assert abs(loud[0] - 0.5) < 0.01 and len(pauses) == 1  # one, between the two tones
    assert abs(loud[pauses[0] + 1] - 2.5) < 0.01 and abs(loud[-1] - 4) < 0.04


def test_a_part_without_sound(tmp_path):
    first = beep(tmp_path / 's.ts', 'aac').read_bytes()
    silent = encode(tmp_path / 's.ts', drawn(50), bf=0).read_bytes()
    (tmp_path / 's.ts').write_bytes(first + silent)
    writer = write(tmp_path / 'a.mp4', VideoReader(tmp_path / 's.ts'), audio_from=tmp_path / 's.ts')
    assert 'gaps in its sound' in writer.audio_warning
    assert abs(heard(tmp_path / 'a.mp4')[0] - 0.5) < 0.03


def test_missing_sound_is_said(tmp_path):
    silent = encode(tmp_path / 's.mp4', drawn(5))
    writer = write(tmp_path / 'a.mp4', drawn(5), audio_from=silent)
    assert writer.audio_warning.startswith(f'{silent}: no sound')
    assert not VideoReader(tmp_path / 'a.mp4').has_audio
    write(tmp_path / 'frames', drawn(2))
    writer = write(tmp_path / 'b.mp4', drawn(5), audio_from=tmp_path / 'frames')
    assert 'folder' in writer.audio_warning
    source = beep(tmp_path / 'beep.mp4', 'aac')
    for name in ('a.gif', 'pictures'):
        writer = write(tmp_path / name, drawn(5), audio_from=source)
        assert writer.audio_warning.startswith(f'{tmp_path / name}: written without sound')
    with pytest.raises(UserError, match='no such file'):
        write(tmp_path / 'c.mp4', drawn(5), audio_from=tmp_path / 'nowhere.mp4')
    assert not (tmp_path / 'c.mp4').exists()


def test_disk_refuses_the_sound(tmp_path, capfd):
    source = beep(tmp_path / 's.mp4', 'aac')
    write(tmp_path / 'a.mp4', drawn(30))
    message = 'free space or choose another place'
    limit = (tmp_path / 'a.mp4').stat().st_size + 500
    with full_disk(limit), pytest.raises(UserError, match=message):
        write(tmp_path / 'b.mp4', drawn(30), audio_from=source)
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 's.mp4'] and capfd.readouterr() == ('', '')
