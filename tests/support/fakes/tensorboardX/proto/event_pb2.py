from fake_message import Message


class Event(Message):
    pass


class SessionLog(Message):
    START = 1
