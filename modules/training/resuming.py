"""A config beside that of the run which it is to go on with: what may change, and what changed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modules.checkpoints.reading import read_run_state
from modules.config import check_config
from modules.runtime.errors import UserError
from modules.runtime.messages import note
from modules.training.held_state import check_held_state

# Keys, or sections of keys, that leave networks, losses and the order of samples what they are.
CHANGEABLE = (
    *(f'dataset_params.{key}' for key in ('root_dir', 'pairs_list', 'cache_dir', 'cache_gb')),
    'dataset_params.augmentation_params',
    *('train_params.num_epochs', 'train_params.epoch_milestones'),
    *(f'train_params.lr_{network}' for network in ('generator', 'discriminator', 'kp_detector')),
    *(f'train_params.{key}' for key in ('checkpoint_freq', 'checkpoint_minutes')),
    *(f'train_params.{key}' for key in ('keep_checkpoints', 'accumulation_steps')),
    *('train_params.freeze_batch_norm', 'train_params.amp', 'train_params.ema_decay'),
    *('train_params.clip_grad_norm', 'train_params.warmup_steps', 'train_params.validation'),
    *('train_params.num_workers', 'train_params.scalars', 'train_params.vgg19_weights'),
    *('reconstruction_params', 'animate_params', 'visualizer_params'),
)
_SHOWN = 4  # of the keys that may not change


class Change(NamedTuple):
    """A key whose value is another than in the run so far."""

    key: str  # dotted
    before: Any  # ...: it was not there
    now: Any  # ...: it is not there any more

    def __str__(self) -> str:
        return f'{self.key}: {_text(self.now)}, before {_text(self.before)}'


def _text(value: Any) -> str:
    if value is None:
        return 'null'
    return 'absent' if value is ... else str(value)


def changes_of_run(
    config: Mapping[str, Any], checkpoint: Path, need: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """What a config changes in the run of a checkpoint that goes on with it.

    Args:
        config: a checked config.
        need: the sections that training needs.

    Returns:
        The config to go on with, whose ckpt_model is that of the run; and a line for each change
        of the run, the new ones, which are noted on stderr, last.

    Raises:
        UserError: the file can't be read, or something is changed that may not be.
    """
    held, meta = read_run_state(checkpoint)
    if held is None or 'progress' not in meta:  # no checkpoint of a run: `resume` says so
        return dict(config), []
    check_held_state(checkpoint, meta)
    before = check_config(held, f'{checkpoint}: its config', need)
    if config['ckpt_model'] != before['ckpt_model']:
        note('ckpt_model has no effect: a run that is resumed has its own weights')
    config = {**config, 'ckpt_model': before['ckpt_model']}
    changes = list(differences(before, config))
    refused = [change for change in changes if not _may_change(change)]
    if refused:
        named = '; '.join(map(str, refused[:_SHOWN]))
        more = f'; and {len(refused) - _SHOWN} more' if len(refused) > _SHOWN else ''
        raise UserError(
            f'{named}{more}: networks, losses and data of a run may not change; set this back as '
            f'in the config.yaml of the run, or start a new one with --checkpoint {checkpoint}'
        )
    epoch, batch = meta['progress']['epoch'], meta['progress']['batch']
    since = f'from epoch {epoch} on' + (f' (its batch {batch})' if batch else '')
    lines = [f'{since}: {change}' for change in changes]
    for line in lines:
        note(line)
    return config, [*meta.get('changes', ()), *lines]


def check_epoch_steps(before: int, now: int, root_dir: Path) -> None:
    """Raises UserError where an epoch has other steps than in the run so far (0: not known)."""
    if before not in (0, now):
        raise UserError(
            f'{root_dir}: {now} steps an epoch, but the run had {before}: clips have come or gone; '
            'bring those of the run back, or start a new one with --checkpoint and its weights'
        )


def differences(before: Any, now: Any, path: str = '') -> Iterator[Change]:
    """Every key whose values differ, in the order of the config; a list is a single value."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if before != now:
            yield Change(path, before, now)
        return
    for key in dict.fromkeys((*now, *before)):
        inner = f'{path}.{key}' if path else str(key)
        yield from differences(before.get(key, ...), now.get(key, ...), inner)


def _may_change(change: Change) -> bool:
    key, before, now = change
    if key.startswith('train_params.lr_'):  # 0: the network is not trained, and has no optimizer
        return bool(before) == bool(now)
    if key == 'train_params.vgg19_weights':  # files of the same weights may lie elsewhere
        return 'random' not in (before, now)
    return any(f'{key}.'.startswith(f'{known}.') for known in CHANGEABLE)
