#!/bin/sh
# With bfloat16 Paddle's predictor keeps most convolutions of a residual network in float32.
#
# Expected: Config.enable_onednn_bfloat16() has oneDNN compute every convolution of a network in bfloat16.
# Happens: of six residual blocks x + conv(relu(conv(relu(x)))), the second convolution of five stays in
# float32, silently. The passes fuse the sum into it and then take it for one that stands alone among
# others in float32; each that stays makes its neighbour stay. On a processor with AMX each of these
# took 22 ms instead of 6 (256 channels, 64 x 64 pixels, two cores).
# Seen with: paddlepaddle 3.3.1, by its own printing of the program; the passes are named one by one,
# so that a processor without bfloat16 shows it, too.
# Way out: a copy in the sum, paddle.assign(x) + conv(...), lets all become bfloat16.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > blocks.py <<'END'
import sys

import paddle
import paddle.nn.functional as F
from paddle.inference import Config, create_predictor

PASSES = [
    'conv2d_bias_fuse_pass',
    'conv_elementwise_add_onednn_fuse_pass',
    'conv_activation_onednn_fuse_pass',
    'cpu_bfloat16_placement_pass',
    'cpu_bfloat16_pass',
    'cpu_bfloat16_type_placement_pass',
]


class Blocks(paddle.nn.Layer):
    def __init__(self, copied):
        super().__init__()
        self.copied = copied
        self.convs = paddle.nn.LayerList([paddle.nn.Conv2D(8, 8, 3, padding=1) for _ in range(12)])

    def forward(self, x):
        x = F.avg_pool2d(x, 2)
        for first, second in zip(self.convs[::2], self.convs[1::2]):
            changed = second(F.relu(first(F.relu(x))))
            x = (paddle.assign(x) if self.copied else x) + changed
        return F.sigmoid(x)


net = Blocks(sys.argv[1] == 'copied')
net.eval()
shape = paddle.static.InputSpec([1, 8, 32, 32], 'float32')
paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[shape]), 'net')
config = Config('net.json', 'net.pdiparams')
config.disable_gpu()
config.enable_onednn()
config.switch_ir_debug(True)  # prints the program before and after each pass
config.enable_custom_passes(PASSES, True)
create_predictor(config)
END
for kind in plain copied; do
    "$folder/venv/bin/python" blocks.py $kind > $kind.txt 2> errors.txt || { cat errors.txt; exit 1; }
    # Of the last printing before the layout is changed:
    sed -n '/after cpu_bfloat16_type_placement_pass/,/IRPrinting on .* before/p' $kind.txt \
        | grep '"onednn_op.fused_conv2d"' > convs.txt
    count=$(grep -c 'mkldnn_data_type:"bfloat16"' convs.txt)
    echo "$kind sums: $count of $(wc -l < convs.txt) convolutions in bfloat16"
    [ "$kind:$count" = plain:7 ] || [ "$kind:$count" = copied:12 ] || { echo 'this has changed' >&2; exit 1; }
done
