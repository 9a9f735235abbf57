from fake_message import Message


class Record(Message):
    pass
