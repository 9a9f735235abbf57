"""Pickles read without unpickling them.

A pickle is a program, and `pickle` runs it. Here its opcodes are decoded by pickletools, which
executes nothing, and run by a small machine of our own that knows no imports: a global name is
looked up in a table of our functions, and what is not in the table gives an inert `Unread`, as does
all that is made of it. So nothing but containers, numbers, texts, arrays and those can come out. A
filtered `pickle.Unpickler` would not be enough: its C code reserves gigabytes for a memo slot of
2**32, and overflows the stack on the hash of a deeply nested tuple.
"""

import pickletools
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple, cast

MAX_OPCODES = 500_000  # a full-size checkpoint with its optimizers takes about 27 000
MAX_LINE = 1000
MAX_ARGUMENTS = 16  # of a call; Python copies them
_ITEM = 128  # bytes of a dict for each of its items, about


class RefusedError(ValueError):
    """A file that isn't what it should be, in one line to which the caller adds the path."""


class TooLargeError(RefusedError):
    """A file whose content would fill far more memory than the file."""


class Unread:
    """Stands for what a pickle makes that is of no use here. It knows nothing and does nothing.

    Who needs what it stands for raises RefusedError with `reason`.
    """

    def __init__(self, reason: str):
        self.reason = reason


class Function(NamedTuple):
    """A function of ours that a pickle may call; it must check its arguments."""

    call: Callable[..., Any]


class StandIn:
    """Stands for an object whose state a pickle sets; nothing of the real one is ever called."""

    def build(self, state: Any) -> None:
        raise RefusedError('its pickle sets the state of an object that has none')


def check_key(key: Any) -> None:
    """Raises RefusedError unless this is a key for a dict: others can have hashes without end."""
    if type(key) not in (str, int):
        raise RefusedError(_odd_key(key))


def _odd_key(key: Any) -> str:
    return f'its pickle has a dict key of type {type(key).__name__}'


class Budget:
    """The memory that a file may fill: some more than it holds, since tensors may share data.

    Args:
        size: bytes of data in the file.
    """

    def __init__(self, size: int):
        self._left = 4 * size + 2**16

    def spend(self, size: int) -> None:
        """To be called before `size` bytes are made. Raises RefusedError when they are too many."""
        self._left -= size
        if self._left < 0:
            raise TooLargeError('it would take far more memory than the file has data for')


def dict_maker(budget: Budget) -> Function:
    """An OrderedDict as pickles make it: empty, or from Python 2's list of [key, value].

    A pickle may have the same list copied again and again, so that each copy is charged.
    """

    def make(pairs: Any = ()) -> dict[Any, Any]:
        items = {}
        if type(pairs) not in (list, tuple):
            raise RefusedError('its pickle makes a dict of what is no list')
        budget.spend(_ITEM * len(pairs))
        for pair in pairs:
            if type(pair) is not list or len(pair) != 2:
                raise RefusedError('its pickle makes a dict of what are no keys and values')
            check_key(pair[0])
            items[pair[0]] = pair[1]
        return items

    return Function(make)


class Reader:
    """The rest of a binary file, from which no call takes more than there is."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._left = size - file.tell()
        self._opcodes = MAX_OPCODES  # of all pickles in it together

    def count_opcode(self) -> None:
        self._opcodes -= 1
        if self._opcodes < 0:
            raise RefusedError(f'its pickle has over {MAX_OPCODES} opcodes')

    def read(self, count: int) -> bytes:
        data = self._file.read(max(0, min(count, self._left)))
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        line = self._file.readline(min(MAX_LINE, self._left))
        self._left -= len(line)
        return line


class Machine:
    """Runs the opcodes of a pickle that the writers of checkpoints use; any other is refused.

    Objects are never made: what is not in the table becomes Unread, whatever is done with it.

    Args:
        table: what 'module name' stands for: a Function, or a plain value.
        persistent: builds the object of a persistent id; without it they are refused.
    """

    def __init__(self, table: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None):
        self._table = table
        self._persistent = persistent
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def load(self, reader: Reader) -> Any:
        """The object of the pickle that starts at the reader's position, which moves behind it.

        Raises:
            RefusedError: the pickle is damaged, or does what no checkpoint needs.
        """
        try:
            for opcode, argument, _ in pickletools.genops(cast(Any, reader)):
                if opcode.name == 'STOP':
                    return self._stack.pop()
                reader.count_opcode()
                step = getattr(self, f'do_{opcode.name}', None)
                if step is None:
                    raise RefusedError(f'its pickle uses {opcode.name}, which no checkpoint needs')
                step(argument)
        except RefusedError:
            raise
        except (ValueError, IndexError) as error:  # from genops; from an empty stack
            raise RefusedError(f'its pickle is damaged or cut off ({shorten(error)})') from error
        raise RefusedError('its pickle is cut off')

    # One method an opcode, named as pickletools names them.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _skip(self, _: Any) -> None:
        pass

    do_PROTO = do_FRAME = _skip
    do_BININT = do_BININT1 = do_BININT2 = do_BINFLOAT = _push
    do_BINUNICODE = do_SHORT_BINUNICODE = do_BINBYTES = do_SHORT_BINBYTES = _push
    do_BINSTRING = do_SHORT_BINSTRING = _push  # Python 2's, in Latin-1

    def do_LONG1(self, value: int) -> None:
        # Longer integers can be made to share one hash, which slows dicts down without end.
        if -(2**63) <= value < 2**63:
            self._push(value)
        else:  # the state of a random generator, say
            self._push(Unread('its pickle holds an integer of more than 64 bits'))

    def do_NONE(self, _: Any) -> None:
        self._push(None)

    def do_NEWTRUE(self, _: Any) -> None:
        self._push(True)

    def do_NEWFALSE(self, _: Any) -> None:
        self._push(False)

    def do_EMPTY_TUPLE(self, _: Any) -> None:
        self._push(())

    def do_EMPTY_LIST(self, _: Any) -> None:
        self._push([])

    def do_EMPTY_DICT(self, _: Any) -> None:
        self._push({})

    def do_EMPTY_SET(self, _: Any) -> None:
        self._push(Unread('its pickle has a set'))

    def do_ADDITEMS(self, _: Any) -> None:
        self._pop_to_mark()
        if not isinstance(self._stack[-1], Unread):
            raise RefusedError('its pickle adds to what is no set')

    def do_FROZENSET(self, _: Any) -> None:
        self._pop_to_mark()
        self._push(Unread('its pickle has a set'))

    def do_MARK(self, _: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _pop_tuple(self, count: int) -> None:
        items = [self._stack.pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def do_TUPLE1(self, _: Any) -> None:
        self._pop_tuple(1)

    def do_TUPLE2(self, _: Any) -> None:
        self._pop_tuple(2)

    def do_TUPLE3(self, _: Any) -> None:
        self._pop_tuple(3)

    def do_TUPLE(self, _: Any) -> None:
        self._push(tuple(self._pop_to_mark()))

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], Unread):
            return
        if type(self._stack[-1]) is not list:
            raise RefusedError('its pickle appends to what is no list')
        self._stack[-1].extend(items)

    def do_APPEND(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def do_APPENDS(self, _: Any) -> None:
        self._extend(self._pop_to_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Unread):
            return
        if type(target) is not dict or len(items) % 2:
            raise RefusedError('its pickle sets items of what is no dict')
        for key, value in zip(items[::2], items[1::2]):
            target[key if type(key) in (str, int) else Unread(_odd_key(key))] = value

    def do_SETITEM(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def do_SETITEMS(self, _: Any) -> None:
        self._update(self._pop_to_mark())

    def do_BINPUT(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    def do_MEMOIZE(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def do_BINGET(self, slot: int) -> None:
        if slot not in self._memo:
            raise RefusedError(f'its pickle refers to the memo slot {slot}, which is empty')
        self._push(self._memo[slot])

    do_LONG_BINPUT, do_LONG_BINGET = do_BINPUT, do_BINGET

    def do_GLOBAL(self, name: str) -> None:
        """`name` is 'module name'."""
        if name in self._table:
            self._push(self._table[name])
            return
        dotted = shorten(name.replace(' ', '.'))
        self._push(
            Unread(f'refers to {dotted}, which has no place in a checkpoint; it was not run')
        )

    def do_STACK_GLOBAL(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RefusedError('its pickle has a global whose name is no text')
        if len(module) + len(name) > MAX_LINE:
            raise RefusedError(f'its pickle has a global called {shorten(name)}')
        self.do_GLOBAL(f'{module} {name}')

    def do_REDUCE(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if type(arguments) is not tuple or not isinstance(function, (Function, Unread)):
            raise RefusedError('its pickle calls what is no function')
        self._push(_call(function, arguments))

    def do_NEWOBJ(self, _: Any) -> None:
        _, kind = self._stack.pop(), self._stack.pop()
        self._push(kind if isinstance(kind, Unread) else Unread('its pickle makes an odd object'))

    def do_NEWOBJ_EX(self, _: Any) -> None:
        self._stack.pop()
        self.do_NEWOBJ(_)

    def do_BUILD(self, _: Any) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, StandIn):
            try:
                target.build(state)
            except RefusedError as error:
                self._stack[-1] = Unread(str(error))
        elif type(target) is not dict and not isinstance(target, Unread):
            # An OrderedDict's attributes are of no use to us.
            raise RefusedError('its pickle sets the state of what is no array')

    def do_BINPERSID(self, _: Any) -> None:
        if self._persistent is None:
            raise RefusedError('its pickle refers to data outside of it')
        self._push(self._persistent(self._stack.pop()))


def _call(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What a function of ours gives; what it refuses, and any other function's result, is Unread.

    So a pickle may hold whatever it likes beside what is wanted of it.
    """
    if isinstance(function, Unread):
        return function
    if len(arguments) > MAX_ARGUMENTS:
        return Unread(f'its pickle is damaged (a call with {len(arguments)} arguments)')
    try:
        return function.call(*arguments)
    except TooLargeError:
        raise
    except RefusedError as error:
        return Unread(str(error))
    except TypeError as error:  # too many arguments, or too few
        return Unread(f'its pickle is damaged ({shorten(error)})')


def shorten(value: Any) -> str:
    """A value from a file, fit for a message: printable, and of one short line.

    Of a container only the type is told, for its text can be endless.
    """
    if not isinstance(value, (str, int, Exception)):
        return f'a {type(value).__name__}'
    short = reprlib.Repr()
    short.maxstring = 80
    return short.repr(str(value))
