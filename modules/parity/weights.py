"""Weights drawn from names, so that the official code and this one hold the same on any machine."""

from modules.build import Models
from modules.checkpoints.weight_names import to_official_names
from modules.runtime.seeding import seeded_value


def seed_networks(models: Models, seed: int) -> None:
    """Gives the three networks the weights drawn from their names; blur kernels keep theirs."""
    for network_name, network in models._asdict().items():
        for key, tensor in to_official_names(network.state_dict()).items():
            if not key.endswith('down.weight'):
                value = seeded_value(f'{network_name}.{key}', tuple(tensor.shape), seed)
                tensor.set_value(value.astype(str(tensor.numpy().dtype)))
