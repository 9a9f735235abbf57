#!/bin/sh
# A predictor that folds no constants convolves with wrong biases, but in its first run.
#
# Expected: Config.delete_pass('constant_folding_pass') changes how fast a network runs and loads, not what
# it computes.
# Happens: with oneDNN the first run is right. Later ones, mostly from the second on, add other values than
# the biases, silently: whatever lies by then where the first run had put them. For nn.Conv2D with a bias is saved as a
# convolution and the sum with its bias, reshaped; conv2d_bias_fuse_pass hands the reshaped tensor on to
# oneDNN's convolution, which remembers the place of its bias as that of a parameter that stays.
# Folding makes a parameter of it; without folding it is computed anew, elsewhere, in each run. Whoever
# compares the first result only sees nothing.
# Seen with: paddlepaddle 3.3.1; without oneDNN all runs are right.
# Way out: F.conv2d without a bias, plus a parameter of shape [1, C, 1, 1].

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > run.py <<'END'
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.inference import Config, create_predictor

CHANNELS = (3, 32, 64, 128, 64, 32, 16)


class Conv(paddle.nn.Layer):
    def __init__(self, into, out, reshaped):
        super().__init__()
        self.reshaped = reshaped
        self.weight = self.create_parameter([out, into, 3, 3])
        self.bias = self.create_parameter([out] if reshaped else [1, out, 1, 1])
        self.bias.set_value(np.linspace(-0.1, 0.1, out, dtype='float32').reshape(self.bias.shape))

    def forward(self, x):
        if self.reshaped:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        return F.conv2d(x, self.weight, padding=1) + self.bias


class Net(paddle.nn.Layer):
    def __init__(self, reshaped):
        super().__init__()
        pairs = zip(CHANNELS, CHANNELS[1:])
        self.convs = paddle.nn.LayerList([Conv(*pair, reshaped) for pair in pairs])

    def forward(self, x):
        for number, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if number < 3:
                x = F.avg_pool2d(x, 2)
            else:
                x = F.pixel_shuffle(paddle.concat([x, x, x, x], axis=1), 2)
        return x


x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)


def errors(reshaped, folded, onednn):
    """The largest error of each of four runs."""
    paddle.seed(0)
    net = Net(reshaped)
    net.eval()
    expected = net(paddle.to_tensor(x)).numpy()
    shape = paddle.static.InputSpec(x.shape, 'float32')
    paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[shape]), 'net')
    config = Config('net.json', 'net.pdiparams')
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_onednn() if onednn else config.disable_onednn()
    if not folded:
        config.delete_pass('constant_folding_pass')
    predictor = create_predictor(config)
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.copy_from_cpu(x)
    found = []
    for _ in range(4):
        predictor.run()
        (name,) = predictor.get_output_names()
        y = predictor.get_output_handle(name).copy_to_cpu()
        found.append(float(np.abs(y - expected).max()))
    return found


def show(words, found):
    print(f'{words:44}', *(f'{error:8.1e}' for error in found))
    return found


print('largest error of four runs')
assert max(show('oneDNN, constants folded', errors(True, True, True))) < 1e-4
assert max(show('not folded, without oneDNN', errors(True, False, False))) < 1e-4
assert max(show('oneDNN, not folded, bias of four dimensions', errors(False, False, True))) < 1e-4
first, *later = show('oneDNN, not folded', errors(True, False, True))
assert first < 1e-4 < max(later), 'this has changed'
END
"$folder/venv/bin/python" run.py 2> errors.txt || { cat errors.txt; exit 1; }
