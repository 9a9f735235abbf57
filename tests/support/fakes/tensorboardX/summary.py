import io

from fake_message import Message
from PIL import Image


def scalar(name, value):
    return Message(value=[Message(tag=name, simple_value=value)])


def image(tag, array, dataformats):
    assert dataformats == 'HWC'
    png = io.BytesIO()
    Image.fromarray(array).save(png, 'PNG')
    return Message(value=[Message(tag=tag, image=Message(encoded_image_string=png.getvalue()))])
