"""What commands say, in Chinese: the sentences that readers of the page meet most.

Commands speak English, and so does the page with whatever no pattern here fits. Readers choose
models, areas and sizes by the page's fields, so the Chinese sentences name these, not options.
"""

import re

_EXTRA = r'python -m pip install --no-deps -r requirements-faces\.txt'
_NAME = r'(?P<name>[^:]+: )?'  # which is left out beside its field

# A pattern of the English sentence, and the Chinese one with the pattern's groups.
REASONS = (
    # The picture.
    (r'not a picture that can be read; .*', '不是可以读取的图片，请另存为 PNG 或 JPEG'),
    (r'too (?:many pixels|large for the memory); scale the picture down', '图片太大，请缩小后再试'),
    (r'damaged picture \((?P<why>.*)\); .*', '图片已损坏（{why}），请换一张'),
    (
        r'HEIC is read with the package pillow-heif; .*',
        '读取 HEIC 需要软件包 pillow-heif，请安装，或把图片另存为 PNG 或 JPEG',
    ),
    (r'32-bit gray values; .*', '图片是 32 位灰度，请另存为 8 位或 16 位'),
    (r'float values outside \[0, 1\]; .*', '图片的浮点数值超出 [0, 1]，请另存为 8 位'),
    (r'a frame of more than (?P<most>\d+) pixels.*', '画面超过 {most} 像素'),
    (r'a frame that is no JPEG, or a damaged one', '画面不是 JPEG，或已损坏'),
    # The clip.
    (r'can not be decoded \((?P<why>.*)\); .*', '无法解码（{why}），请转换为 H.264 编码的 mp4'),
    (r'its video codec is unknown to libav; .*', '无法识别它的视频编码，请转换为 H.264'),
    (r'a still picture, not a video; .*', '这是一张静止的图片，请选择视频'),
    (r'its time stamps leap; .*', '时间戳不连续，请按固定帧率重新编码'),
    # What is found in them.
    (
        rf'{_NAME}has no face that could be found; .*',
        '{name}没有找到人脸，请把“动画区域”改为“对象”或“整张图片”',
    ),
    (
        rf'{_NAME}neither a face nor an object could be found \(.*{_EXTRA}\); .*',
        '{name}没有找到可以动起来的对象，请换一个文件，或把“动画区域”改为“整张图片”；'
        '查找人脸还需要安装 requirements-faces.txt 中的软件包',
    ),
    (
        rf'{_NAME}(?:neither a face nor an object|no object) could be found.*',
        '{name}没有找到可以动起来的对象，请换一个文件，或把“动画区域”改为“整张图片”',
    ),
    (
        rf'(?:(?:--)?crop )?face: faces are found by an extra: (?P<command>{_EXTRA})',
        '查找人脸需要安装可选的软件包：{command}',
    ),
    (
        r'the keypoints span no area, so there is no size to adapt to or compare; .*',
        '关键点挤在一起，无法比较大小，请取消“按对象大小调整运动幅度”和“从最相似的姿态开始”',
    ),
    (
        r'the keypoints span no area in any driving frame, .*',
        '视频中的关键点挤在一起，无法比较姿态，请取消“从最相似的姿态开始”',
    ),
    # The model.
    (
        r'(?P<url>http\S+): the download failed \((?P<why>.*)\); try again later to go on from '
        r'there, or get the file by other means and put it as (?P<path>.*)',
        '下载失败（{why}）：{url}。请稍后重试，会接着下载；也可以用其他方式得到它，放到 {path}',
    ),
    (
        r'(?P<url>http\S+): what came from there is of no use: (?P<why>.*)',
        '从 {url} 下载的内容无法使用：{why}',
    ),
    # The size.
    (
        r'.*: give width and height in pixels, such as 1280,720; (?P<most>\d+) at most',
        '请写宽和高的像素数，例如 1280,720，最大 {most}',
    ),
    (
        r'.*: give a factor above 0, such as 2; (?P<most>\S+) at most',
        '倍数请写大于 0 的数，例如 x2，最大 x{most}',
    ),
    (
        r'the result would be (?P<width>\d+) x (?P<height>\d+), and (?P<most>\d+) pixels are the '
        r'most a side can have; .*',
        '结果将是 {width} x {height}，而边长最多 {most} 像素，请改小“结果尺寸”',
    ),
    # What is noted on the way.
    (r'best frame: (?P<number>\d+)', '最相似的姿态在第 {number} 帧（从 0 数起）'),
    (
        r"faces are cropped by an extra, the networks' keypoints did it: .*",
        '没有安装查找人脸的软件包，按网络的关键点裁剪；安装 requirements-faces.txt 后效果更好',
    ),
    (r'downloading (?P<url>\S+), once, into .*', '首次使用，已下载 {url}'),
    (
        rf'{_NAME}(?P<width>\d+) x (?P<height>\d+) is squeezed to (?P<to>\d+ x \d+); .*',
        '{name}{width} x {height} 被缩放成 {to}，会变形；先裁剪成这个比例效果更好',
    ),
    (
        r'--size \S+ squeezes a result of (?P<shape>\d+ x \d+); (?P<fitting>\S+) would keep .*',
        '结果原来是 {shape}，按所填的尺寸会变形；填 {fitting} 可以保持比例',
    ),
    (
        r'the result is (?P<shape>\d+ x \d+); players may stop at (?P<most>\d+ x \d+); then give '
        r'--size (?P<size>\S+)',
        '结果的尺寸是 {shape}，有的播放器最多只能播放 {most}；放不出来时“结果尺寸”请填 {size}',
    ),
    (rf'{_NAME}no sound track to copy; .*', '{name}没有声音'),
    (rf'{_NAME}unusable sound track; .*', '{name}声音无法使用，结果没有声音'),
    (rf'{_NAME}damaged sound track; .*', '{name}声音有损坏，缺了一部分'),
    (r'the slow eager engine is used: (?P<why>.*)', '使用了较慢的 eager 引擎：{why}'),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), text) for pattern, text in REASONS)


def told_reason(language: str, line: str) -> str:
    """A sentence of a command in the reader's language if it is known, else as it is.

    Args:
        language: 'en' or 'zh'.
        line: in English, with or without its full stop.
    """
    if language == 'zh':
        for pattern, text in _COMPILED:
            found = pattern.fullmatch(line.strip().rstrip('.'))
            if found is not None:
                return f'{text.format(**found.groupdict(default=""))}。'
    return line
