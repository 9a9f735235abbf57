"""The process of a live session that gives every frame back, without any networks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.page import live_messages as messages
from tools.page.live_child import open_pipes


def main():
    received, sent = open_pipes()

    def send(message):
        sent.write(messages.framed(message))
        sent.flush()

    messages.read_message(received)
    send(messages.pack_json(messages.STATE, state='ready', width=8, height=8))
    while (message := messages.read_message(received)) is not None:
        if message[0] == messages.FRAME:
            number, jpeg = messages.number_of(message), messages.content_of(message)
            send(messages.pack_result(number, 1.0, jpeg))


if __name__ == '__main__':
    main()
