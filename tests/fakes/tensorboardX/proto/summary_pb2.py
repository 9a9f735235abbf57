from fake_message import Message


class Summary(Message):
    Value = Message
    Image = Message
