"""Pictures and clips: the one place where frames are read and written.

A frame is an array (H, W, 3) of uint8, RGB; H and W are its height and width in pixels. Every clip
is read and written at a constant rate: frame i belongs to second i / fps (see `VideoReader`).
"""

from modules.video.animated_pictures import is_animated
from modules.video.opening import CLIP_SUFFIXES
from modules.video.pictures import IMAGE_SUFFIXES, read_image
from modules.video.reading import VideoReader, map_repeated, read_frames
from modules.video.resizing import resize_frame
from modules.video.still import AnyReader, first_frame, is_moving, open_frames
from modules.video.timing import FOLDER_FPS
from modules.video.writing import PICTURE_SUFFIXES, VideoWriter, write_picture, write_video

__all__ = [
    'CLIP_SUFFIXES',
    'FOLDER_FPS',
    'IMAGE_SUFFIXES',
    'PICTURE_SUFFIXES',
    'AnyReader',
    'VideoReader',
    'VideoWriter',
    'first_frame',
    'is_animated',
    'is_moving',
    'map_repeated',
    'open_frames',
    'read_frames',
    'read_image',
    'resize_frame',
    'write_picture',
    'write_video',
]
