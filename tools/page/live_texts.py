"""What the live tab says, in English and Chinese; see texts.py."""

LIVE_SENTENCES: dict[str, tuple[str, str]] = {
    'tab_live': ('Live', '实时'),
    'live_camera': ('Camera', '摄像头'),
    'live_result': ('Result', '结果'),
    'live_camera_empty': ('The camera starts when you do.', '点击“开始”后启动摄像头。'),
    'live_start': ('Start', '开始'),
    'live_stop': ('Stop', '停止'),
    'live_calibrate': ('Calibrate', '校准'),
    'live_calibrate_hint': (
        'Hold the pose that the picture shows, then press Calibrate: movement counts from there.',
        '先摆出与图片相同的姿态，再点击“校准”，运动以此为起点。',
    ),
    'live_mirror': ('Mirror', '镜像'),
    'live_record': ('Record', '录制'),
    'live_record_stop': ('Stop recording', '停止录制'),
    'live_picture': ('Picture', '图片'),
    'live_choose': ('Another picture …', '其他图片…'),
    'live_zoom': ('Zoom', '缩放'),
    'live_rate': ('results per second', '帧/秒'),
    'live_latency': ('ms latency', '毫秒延迟'),
    'live_download': ('Download the recording', '下载录像'),
    # How it is.
    'live_idle': ('Ready. Your camera is not on.', '就绪。摄像头未开启。'),
    'live_camera_wait': ('Waiting for your camera …', '正在等待摄像头……'),
    'live_preparing': ('Preparing the networks …', '正在准备网络……'),
    'live_running': ('Live.', '实时运行中。'),
    'live_recording': ('Live, recording.', '实时运行中，正在录制。'),
    'live_recorded': ('The recording is ready.', '录像已完成。'),
    'live_recorded_nothing': ('Nothing was recorded.', '没有录到内容。'),
    'live_stopped': ('Stopped.', '已停止。'),
    # What is wrong.
    'live_busy': (
        'Somebody else is live here; one at a time. Try again when they have stopped.',
        '已有人在使用实时功能，同一时间只能有一位。请稍后再试。',
    ),
    'live_idle_out': (
        'Stopped: no frames came from your camera for a while.',
        '已停止：摄像头长时间没有画面。',
    ),
    'live_large': ('Stopped: a frame or picture was too large.', '已停止：画面或图片过大。'),
    'live_broken': ('Stopped: the server did not understand.', '已停止：服务器无法识别请求。'),
    'live_failed': ('This model cannot be used: {why}', '此模型无法使用：{why}'),
    'live_lost': ('The connection to the server has ended.', '与服务器的连接已断开。'),
    'live_picture_wrong': ('This picture cannot be read: {why}', '无法读取这张图片：{why}'),
    'live_picture_large': (
        'This picture is larger than {most} MB, the most here.',
        '这张图片超过 {most} MB 的上限。',
    ),
    'live_record_wrong': ('The recording failed: {why}', '录制失败：{why}'),
    'live_no_camera': ('No camera was found.', '没有找到摄像头。'),
    'live_denied': (
        'Your browser does not let this page use the camera; allow it beside the address.',
        '浏览器未允许本页使用摄像头，请在地址栏中允许。',
    ),
    'live_insecure': (
        'Browsers give a camera to https pages and to 127.0.0.1 alone; see doc/live.md.',
        '浏览器仅允许 https 页面或 127.0.0.1 使用摄像头，详见 doc/live.md。',
    ),
    'live_camera_lost': ('The camera has gone.', '摄像头已断开。'),
}
