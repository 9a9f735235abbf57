"""Which config is that of a checkpoint that fits another one."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paddle.nn import Layer

from modules.build import build_network
from modules.checkpoints.weight_names import State, is_constant, is_counter
from modules.config import load_config
from modules.runtime.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / 'config'
SHOWN = 2
CHEAPEST_FIRST = ('discriminator', 'kp_detector', 'generator')  # to build
Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(state: State) -> Shapes:
    """The shapes of a state's weights by name."""
    return {key: array.shape for key, array in state.items() if not is_counter(key)}


def fitting_configs(networks: Mapping[str, Shapes], checkpoint: Path) -> str:
    """Which configs the networks of a checkpoint fit, for the end of a message.

    Args:
        networks: shapes by Paddle's names.
        checkpoint: its path. Beside the checkpoint of a training run lies the config.
    """
    own = checkpoint.parent / 'config.yaml'
    if own.is_file():
        return f'give --config {own}, with which it was trained'
    found = list(_published(networks))
    if not found:
        return 'give the config that it was trained with'
    like = checkpoint.name.split('-')[0]
    found.sort(key=lambda path: (not path.name.startswith(like), path.name))
    names = [f'config/{path.name}' for path in found[:SHOWN]]
    if len(found) > SHOWN:
        names.append(f'{len(found) - SHOWN} more')
    return f'give --config {" or ".join(names)}, which it fits'


def _published(networks: Mapping[str, Shapes]) -> Iterator[Path]:
    known: dict[str, bool] = {}  # many configs have the same networks

    def fits(name: str, params: Mapping[str, Any]) -> bool:
        parts = [params['common_params'], params[f'{name}_params']]
        key = json.dumps([name, *parts])
        if key not in known:
            known[key] = _fits(build_network(name, params), networks[name])
        return known[key]

    for path in sorted(CONFIGS.glob('*.yaml')):
        try:
            params = load_config(path)['model_params']
        except UserError:  # a user's own
            continue
        if all(fits(name, params) for name in CHEAPEST_FIRST if name in networks):
            yield path


def _fits(layer: Layer, shapes: Shapes) -> bool:
    """Whether these are the layer's shapes; constants may be absent."""
    own = {key: tuple(tensor.shape) for key, tensor in layer.state_dict().items()}
    return shapes == {
        key: shape for key, shape in own.items() if key in shapes or not is_constant(key)
    }
