#!/bin/sh
# What Python raises within backward() comes out of it as OSError, Ctrl+C and sys.exit() included.
#
# Expected: an exception that is raised in PyLayer.backward, or in a gradient's hook, comes out of
# Tensor.backward() as it was raised, as one of PyLayer.forward does.
# Happens: whatever it was, OSError is raised with its text, without a cause or a context. So
# `except KeyError` or `except MemoryError` around backward() does not see it, a signal handler's
# SystemExit and the KeyboardInterrupt of Ctrl+C do not end the program, and code that takes OSError
# for trouble with files takes a mistake in a gradient, or Ctrl+C, for a bad disk.
# Seen with: PaddlePaddle 3.3.1.
# Way out: keep the exception oneself, and raise it again once backward() has raised.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
cat > run.py <<'END'
import paddle
from paddle.autograd import PyLayer


def outcome(where, error):
    class Double(PyLayer):
        @staticmethod
        def forward(ctx, x):
            if where == 'forward':
                raise error
            return 2 * x

        @staticmethod
        def backward(ctx, dy):
            if where == 'backward':
                raise error
            return 2 * dy

    def hook(gradient):
        if where == 'hook':
            raise error

    x = paddle.ones([2])
    x.stop_gradient = False
    try:
        y = Double.apply(x)
        y.register_hook(hook)
        y.sum().backward()
    except BaseException as raised:
        return type(raised).__name__


for where in ('forward', 'backward', 'hook'):
    for error in (KeyError('a'), MemoryError(), SystemExit(3), KeyboardInterrupt()):
        print(where, type(error).__name__, outcome(where, error))
END
"$folder/venv/bin/python" run.py > out.txt 2> log.txt || { cat log.txt; exit 1; }
printf '%-10s%-20s%s\n' where raised 'comes out as'
while read -r where raised found; do
    printf '%-10s%-20s%s\n' "$where" "$raised" "$found"
done < out.txt
same=$(awk '$1 == "forward" && $2 == $3' out.txt | wc -l)
changed=$(awk '$1 != "forward" && $3 == "OSError"' out.txt | wc -l)
[ "$same" -eq 4 ] && [ "$changed" -eq 8 ] || { echo 'this has changed'; exit 1; }
