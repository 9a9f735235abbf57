#!/bin/sh
# An optimizer takes up another layer's moments, without a word, if layers are made in another order.
#
# Expected: Adam's state, saved and loaded, belongs to the same parameters afterwards, as the weights
# do, which are found by their names in the network; or an error.
# Happens: the state is kept by names that number the layers of a kind in the order in which the
# process made them (linear_0.w_0). After a refactoring that only swaps two lines of a constructor,
# weights load rightly and each layer goes on with the other's moments, if the shapes agree. It shows
# as a bump in the loss after resuming, if at all.
# Seen with: PaddlePaddle 3.3.1.
# Way out: name the parameters oneself before the optimizer is made:
#     for name, parameter in net.named_parameters(): parameter.name = name

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
cat > net.py <<'END'
import sys

import paddle


class Net(paddle.nn.Layer):
    def __init__(self, order):
        super().__init__()
        for name in order:
            setattr(self, name, paddle.nn.Linear(2, 2))


net = Net(sys.argv[1])
adam = paddle.optimizer.Adam(parameters=net.parameters())
resumed = 'resumed' in sys.argv
if resumed:
    net.set_state_dict(paddle.load('net.pdparams'))
    adam.set_state_dict(paddle.load('adam.pdopt'))
x = paddle.zeros([1, 2]) if resumed else paddle.ones([1, 2])
(net.a(x) + 3 * net.b(x)).sum().backward()
adam.step()
if not resumed:
    paddle.save(net.state_dict(), 'net.pdparams')
    paddle.save(adam.state_dict(), 'adam.pdopt')
state = adam.state_dict()
moments = {n: state[f'{getattr(net, n).weight.name}_moment1_0'].mean().item() for n in 'ab'}
means = ', '.join(f'{name} {mean:.2f}' for name, mean in moments.items())
print(f'made in the order {sys.argv[1]}: mean first moments {means}')
assert max(moments, key=moments.get) == sys.argv[2], 'this has changed'
END
run() {
    "$folder/venv/bin/python" -W ignore net.py "$@" 2> log || { cat log; exit 1; }
}
echo 'a step, whose gradient is three times as large for b as for a:'
run ab b
echo 'taken up, then a step without gradients for the weights:'
run ab b resumed
run ba a resumed
