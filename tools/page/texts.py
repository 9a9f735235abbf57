"""What the page says, in English and Chinese."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tools.page.live_texts import LIVE_SENTENCES
from tools.page.reasons import told_reason

LANGUAGES = ('en', 'zh')


class Texts(NamedTuple):
    """The sentences of one language, by name: `texts('cancel')`, `texts('waiting', before=2)`."""

    language: str

    def __call__(self, name: str, /, **values: object) -> str:
        return SENTENCES[name][LANGUAGES.index(self.language)].format(**values)

    @property
    def other(self) -> str:
        """The language to switch to."""
        return LANGUAGES[1 - LANGUAGES.index(self.language)]


# English, Chinese.
SENTENCES: dict[str, tuple[str, str]] = {
    **LIVE_SENTENCES,
    'title': ('First Order Motion', '一阶运动模型'),
    'lead': (
        'A picture moves like the object in a clip.',
        '让一张图片像视频中的对象那样动起来。',
    ),
    'switch': ('中文', 'English'),
    'switch_hint': ('用中文显示本页', 'Show this page in English'),
    'tab_animate': ('Animate', '动画'),
    # What goes in.
    'picture': ('Picture', '图片'),
    'clip': ('Driving clip', '驱动视频'),
    'model': ('Model', '模型'),
    'model_bundled': ('Bundled: drawn creatures', '内置：手绘动物'),
    'model_vox': ('vox: faces (downloaded once)', 'vox：人脸（首次使用时下载）'),
    'model_vox-512': (
        'vox-512: faces, finer (downloaded once)',
        'vox-512：人脸，更精细（首次使用时下载）',
    ),
    'model_own': ('{name} (given at the start)', '{name}（启动时指定）'),
    'options': ('Options', '选项'),
    'motion': ('Motion', '运动'),
    'motion_relative': ('The movement', '相对运动'),
    'motion_absolute': ('The pose itself', '绝对姿态'),
    'motion_hint': (
        "The movement since the clip's first frame is carried over, or every pose as it is.",
        '迁移相对于视频第一帧的运动，或者直接迁移每一帧的姿态。',
    ),
    'crop': ('What is animated', '动画区域'),
    'crop_auto': ('Find it', '自动'),
    'crop_face': ('A face', '人脸'),
    'crop_object': ('An object', '对象'),
    'crop_none': ('All of it', '整张图片'),
    'crop_hint': (
        'This is cropped out of picture and clip.',
        '从图片和视频中裁剪出这一部分。',
    ),
    'size': ('Size of the result', '结果尺寸'),
    'size_hint': (
        'Empty: as it comes. 640,480: width and height. x2: twice as large.',
        '留空：不缩放。640,480：宽和高。x2：放大两倍。',
    ),
    'paste_back': ('Put it back into the whole picture', '贴回整张图片'),
    'adapt_scale': ('Adapt to the size of the object', '按对象大小调整运动幅度'),
    'best_frame': ('Start from the most similar pose', '从最相似的姿态开始'),
    'sound': ("Keep the clip's sound", '保留视频声音'),
    'beside': ('Make a side-by-side clip, too', '同时生成对比视频'),
    # What is done.
    'animate': ('Animate', '生成动画'),
    'cancel': ('Cancel', '取消'),
    'examples': ('Examples', '示例'),
    'examples_hint': ('Click one: it runs at once.', '点击即可运行。'),
    'example_1': ('A walk', '行走'),
    'example_2': ('Larger picture', '大图中的动物'),
    'example_3': ('A bird', '小鸟'),
    'idle': ('Ready.', '就绪。'),
    'waiting_next': ('Waiting: yours is next.', '排队中：下一个就是您。'),
    'waiting': ('Waiting: {before} before yours.', '排队中：前面还有 {before} 个任务。'),
    'loading': ('Preparing model, picture and clip …', '正在准备模型、图片和视频……'),
    'frames_of': ('Frame {done} of {total}', '第 {done} / {total} 帧'),
    'frames': ('Frame {done}', '第 {done} 帧'),
    'left': ('{time} left', '剩余 {time}'),
    'beside_now': ('Side by side …', '正在生成对比视频……'),
    'cancelling': ('Cancelling …', '正在取消……'),
    'cancelled': ('Cancelled; nothing was kept.', '已取消，没有保留任何内容。'),
    'done': ('Done: {frames} frames in {time}.', '完成：{frames} 帧，用时 {time}。'),
    'failed': ('Not done: see what is marked.', '未完成：请看标出的提示。'),
    'seconds': ('{seconds} s', '{seconds} 秒'),
    'minutes': ('{minutes} min {seconds} s', '{minutes} 分 {seconds} 秒'),
    # What comes out.
    'result': ('Result', '结果'),
    'side_by_side': ('Side by side', '对比'),
    'networks': ('Keypoints', '关键点'),
    'result_empty': ('Shown here when it is done', '完成后显示在这里'),
    'download': ('Download', '下载'),
    'download_result': ('Download the result', '下载结果'),
    'download_beside': ('Download side by side', '下载对比视频'),
    'draw': ('Draw keypoints and masks', '绘制关键点与掩码'),
    'drawing': ('Drawing keypoints and masks …', '正在绘制关键点与掩码……'),
    'drawn': (
        'Drawn: moments of the clip, from top to bottom.',
        '已绘制：自上而下为视频的几个时刻。',
    ),
    'draw_caption': (
        'Picture · clip · result, each with its keypoints · result · what is warped (white) or '
        "painted anew (black) · the keypoints' masks",
        '图片 · 视频 · 结果（均带关键点）· 结果 · 变形（白）或重绘（黑）的部分 · 各关键点的掩码',
    ),
    'nothing_to_draw': ('Choose a picture and a clip first.', '请先选择图片和视频。'),
    'notes': ('Notes', '说明'),
    'note_bundled': (
        'The bundled model knows drawn creatures alone; for a face choose vox.',
        '内置模型只认识手绘动物；如需人脸动画，请选择 vox。',
    ),
    'note_whole': ('Taken whole: {name}.', '未裁剪：{name}。'),
    'note_cropped': ('Cropped to {box}: {name}.', '裁剪为 {box}：{name}。'),
    # What is wrong.
    'no_picture': ('Choose a picture, or take one.', '请选择或拍摄一张图片。'),
    'no_clip': ('Choose a clip, or record one.', '请选择或录制一段视频。'),
    'gone': (
        'This file is no longer here; choose it again.',
        '该文件已被清除，请重新选择。',
    ),
    'picture_not': (
        'This is not a picture that can be read; save it as PNG or JPEG.',
        '这不是可以读取的图片，请另存为 PNG 或 JPEG。',
    ),
    'picture_damaged': (
        'This picture is damaged; choose another file.',
        '这张图片已损坏，请换一个文件。',
    ),
    'picture_large': (
        'This picture is too large to be read; scale it down.',
        '这张图片太大，无法读取，请缩小后再试。',
    ),
    'clip_not': (
        'This is not a video, or one cut short; convert it to mp4.',
        '这不是视频，或者视频不完整，请转换为 mp4。',
    ),
    'clip_empty': (
        'This clip has no frames; choose one with moving pictures.',
        '这段视频没有任何画面，请选择其他视频。',
    ),
    'clip_damaged': (
        'This clip is damaged; convert it again, or cut it before that point.',
        '这段视频已损坏，请重新转换或剪去损坏的部分。',
    ),
    'picture_pixels': (
        'This picture has {width} x {height} pixels; {most} megapixels are the most here.',
        '这张图片有 {width} x {height} 像素，此处最多允许 {most} 百万像素。',
    ),
    'clip_pixels': (
        "This clip's frames have {width} x {height} pixels; {most} megapixels are the most here.",
        '这段视频的画面有 {width} x {height} 像素，此处最多允许 {most} 百万像素。',
    ),
    'clip_long': (
        'This clip is longer than {most} seconds, the most here; cut it.',
        '这段视频超过 {most} 秒的上限，请剪短。',
    ),
    'size_large': (
        'The result would have more than {most} megapixels, the most here.',
        '结果将超过 {most} 百万像素的上限。',
    ),
    'wrong': ('{why}', '{why}'),
    'picture_wrong': ('{why}', '这张图片无法使用：{why}'),
    'clip_wrong': ('{why}', '这段视频无法使用：{why}'),
    'model_wrong': ('{why}', '此模型无法使用：{why}'),
    'size_wrong': ('{why}', '尺寸有误：{why}'),
    'options_wrong': ('{why}', '选项有误：{why}'),
    'full': (
        'Too many are waiting; try again in a minute.',
        '排队人数过多，请一分钟后再试。',
    ),
    'busy_session': ('Your other job is not done yet.', '您的上一个任务尚未完成。'),
    'crashed': (
        'The computation broke down ({why}); the next one starts afresh. Another picture or clip '
        'may do.',
        '计算意外中断（{why}），下一个任务将重新开始。请换一张图片或一段视频试试。',
    ),
    'unforeseen': (
        'Something unforeseen happened; the terminal of the page tells more.',
        '发生了意外错误，详情见启动本页的终端。',
    ),
    'no_memory': (
        'Not enough memory; take a smaller picture or result.',
        '内存不足，请使用更小的图片或结果尺寸。',
    ),
    'no_space': ('The server has no space left for this.', '服务器空间不足。'),
    'footer': (
        'Pictures and clips stay on the computer that serves this page, and are removed when you '
        'leave it.',
        '图片和视频只保存在提供本页的计算机上，离开页面后即被删除。',
    ),
}


# What the work notes on its way, and the sentence for it; '' leaves it out.
NOTES = (
    (r'the bundled networks have seen', 'note_bundled'),
    (r'(looking for|compiling for) ', ''),
    (r'not cropped, for it is as the model wants it: (?P<name>.*)', 'note_whole'),
    (r'cropped to (?P<box>[\d.,-]+): .* in (?P<name>.*)', 'note_cropped'),
)


def told_note(texts: Texts, line: str) -> str:
    """A note in the reader's language where there is a sentence for it, else as it is."""
    for pattern, name in NOTES:
        found = re.match(pattern, line)
        if found is not None:
            return texts(name, **found.groupdict()) if name else ''
    return told_reason(texts.language, line[:1].upper() + line[1:])


def preferred(accept_language: str, offered: Iterable[str] = LANGUAGES) -> str:
    """The language that a browser's Accept-Language header wants most; English if none is offered.

    Qualities are those of RFC 9110, 12.5.4: `zh-CN,zh;q=0.9,en;q=0.8`.
    """
    offered = tuple(offered)
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language[:1000].split(',')):
        tag, _, parameters = part.strip().partition(';')
        name, _, value = parameters.strip().partition('=')
        try:
            quality = float(value) if name.strip() == 'q' else 1.0
        except ValueError:
            continue
        language = tag.strip().lower().partition('-')[0]
        if language in offered and quality > 0:
            wanted.append((-quality, place, language))
    return min(wanted)[2] if wanted else offered[0]
