"""Weights of networks that are never trained here, from files of others: VGG19, AlexNet."""

from pathlib import Path

from paddle import nn

from modules.checkpoints.download import fetch
from modules.checkpoints.reading import read_weights
from modules.runtime.errors import UserError
from modules.runtime.user_cache import user_cache
from modules.vgg import Vgg19

IMAGENET_URL = 'https://paddle-hapi.bj.bcebos.com/models/vgg19.pdparams'  # paddle.vision's


def load_frozen(network: nn.Layer, path: Path, kind: str) -> None:
    """Gives all parameters of a network the arrays of their names in a file, which may hold more.

    Raises:
        UserError: the file can't be read, or a name or shape shows that it is of no such `kind`.
    """
    state = read_weights(path)
    for name, parameter in network.named_parameters():
        array = state.get(name)
        if array is None or list(array.shape) != parameter.shape or array.dtype.kind != 'f':
            found = 'is missing'
            if array is not None:
                found = f'has shape {tuple(array.shape)} of {array.dtype}'
            raise UserError(
                f'{path}: no {kind} weights: {name} {found}, wanted {tuple(parameter.shape)}'
            )
        parameter.set_value(array.astype('float32'))


def find_imagenet(download: bool) -> Path | None:
    """The file of VGG19's weights of ImageNet; None where it can't be had.

    Args:
        download: if it is not in the cache.
    """
    try:
        path = user_cache() / IMAGENET_URL.rpartition('/')[2]
        return path if path.exists() else fetch(IMAGENET_URL) if download else None
    except UserError:
        return None


def build_vgg(weights: str) -> Vgg19:
    """VGG19 with the weights that train_params.vgg19_weights names.

    Args:
        weights: 'imagenet' (paddle.vision's, downloaded once), 'random' (seeded), or a file.
    """
    vgg = Vgg19()
    if weights == 'random':
        vgg.seed()
    elif weights == 'imagenet':
        try:
            path = fetch(IMAGENET_URL)
        except UserError as error:
            mend = 'vgg19_weights: random, with a pixel loss as in config/own-64.yaml, needs none'
            raise UserError(f'{error}; {mend}') from error
        load_frozen(vgg, path, 'VGG19')
    else:
        load_frozen(vgg, Path(weights), 'VGG19')
    return vgg
