#!/bin/sh
# Paddle writes an optimized program for oneDNN that it cannot read again.
#
# Expected: Config.enable_save_optim_model(True) keeps what the passes of create_predictor have made of
# a program, and Config.use_optimized_model(True) starts from it without doing the work again.
# Happens: that is so without oneDNN. With Config.enable_onednn() the file is written without a word,
# and reading it raises ValueError: "Unknown id onednn_op for decompress dialect".
# Seen with: paddlepaddle 3.3.1.
# Way out: none; with oneDNN each process runs the passes anew.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
"$folder/venv/bin/python" - 2> errors.txt <<'END' || { cat errors.txt; exit 1; }
import os

import numpy as np
import paddle
from paddle.inference import Config, create_predictor

net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.Conv2D(8, 4, 3))
net.eval()
shape = paddle.static.InputSpec([1, 3, 16, 16], 'float32')
paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[shape]), 'net')


def configure(name, onednn):
    config = Config(f'{name}.json', f'{name}.pdiparams')
    config.disable_gpu()
    config.disable_glog_info()
    if onednn:
        config.enable_onednn()
    else:
        config.disable_onednn()
    return config


def predict(config):
    predictor = create_predictor(config)
    image = np.linspace(0, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(image)
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


def round_trip(onednn):
    """What comes of writing an optimized program and reading it."""
    folder = f'optimized-{onednn}'
    os.mkdir(folder)
    config = configure('net', onednn)
    config.enable_save_optim_model(True)
    config.set_optim_cache_dir(folder)
    written = predict(config)
    config = configure(f'{folder}/_optimized', onednn)
    config.use_optimized_model(True)
    try:
        return 'the same values' if np.allclose(written, predict(config)) else 'other values'
    except ValueError as error:
        return next(line for line in str(error).splitlines() if 'Unknown id' in line)


plain, onednn = round_trip(False), round_trip(True)
print('without oneDNN:', plain)
print('with oneDNN:   ', onednn)
assert plain == 'the same values' and 'Unknown id onednn_op' in onednn, 'this has changed'
END
