import hashlib
from collections.abc import Mapping
from pathlib import Path

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint

from cleverdistiller.engine.config_changes import ABSENT, changed_settings, read_settings
from cleverdistiller.errors import InputError

# mmengine goes on with what the checkpoint holds of these, whatever the config says now: the optimiser's groups with
# their learning rates and peaks, how far the schedule is, and the seed.
KEPT = (
    'auto_scale_lr',
    'optim_wrapper.constructor',
    'optim_wrapper.optimizer',
    'optim_wrapper.paramwise_cfg',
    'param_scheduler',
    'randomness.seed',
    'train_cfg.by_epoch',
    'train_cfg.type',
)
LENGTHS = ('train_cfg.max_epochs', 'train_cfg.max_iters')
STEPS, GPUS, FRAMES = 'iterations an epoch', 'GPUs', 'frames of the training set'
BATCH = 'train_dataloader.batch_size'


@HOOKS.register_module()
class ResumedSettingsHook(Hook):
    """Compare the settings of a resumed training with those that its checkpoint was trained with.

    mmengine goes on from the checkpoint's iteration with the checkpoint's optimiser, whatever the config says now.
    Refused, before a weight is loaded:

    - another number of iterations an epoch (by the batch size, the number of GPUs or the frames), because the place in
      the schedule counts iterations;
    - another length of the training, where a schedule ends with it;
    - another schedule, optimiser or seed, of which mmengine would take a part from the config or nothing.

    All other changes, such as a teacher, a loss weight or an augmentation, are named in one warning. Paths, workers,
    validation and logging may change without a word.

    Checkpoints carry along what a config does not say: ``meta['training_set']`` holds the number of GPUs, frames and
    iterations an epoch, and the start of the SHA-256 of the info file and the frame list. Where an older one has none,
    iterations an epoch follow from its iteration and epoch.

    Raises:
        InputError: If the schedule could not go on to its planned end.
    """

    def __init__(self) -> None:
        self.training_set: dict | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare before mmengine loads anything."""
        if not (runner._resume and isinstance(runner._train_loop, BaseLoop)):
            return
        path = runner._load_from or find_latest_checkpoint(runner.work_dir)
        meta = checkpoint.get('meta', {})
        if 'cfg' not in meta:
            runner.logger.warning(f'{path} does not say with which settings it was trained: none is compared')
            return
        was, now = read_settings(meta['cfg']), read_settings(runner.cfg.pretty_text)
        changed = changed_settings(was, now)
        there, here = _training_set_of(was, meta), self._training_set(runner)
        changed |= {
            name: (there[name], here.get(name, ABSENT)) for name in there if there[name] != here.get(name, ABSENT)
        }
        if not changed:
            return
        refused = {name: values for name, values in changed.items() if _is_refused(name, now)}
        if refused:
            raise InputError(
                f'--resume of {path} with other settings: {_listed(refused | changed)}',
                'the schedule, optimiser and seed of the checkpoint, whose learning rates and iteration a resumed '
                'training keeps',
                f'resume with the old settings{_way_back(changed, refused, was, there, here)}; or train anew from its '
                f'weights: another --work-dir, no --resume, and --cfg-options load_from={path}',
            )
        runner.logger.warning(
            f'--resume: {len(changed)} settings are not those that {path} was trained with, and the rest of the '
            f'training follows the new ones: {_listed(changed)}'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['training_set'] = self._training_set(runner)

    def _training_set(self, runner: Runner) -> dict:
        """What the config does not say, as plain values."""
        if self.training_set is None:
            dataset = runner.train_dataloader.dataset
            while hasattr(dataset, 'dataset'):  # wrappers
                dataset = dataset.dataset
            files = {key: getattr(dataset, key, None) for key in ('ann_file', 'frame_list')}
            self.training_set = {
                GPUS: runner.world_size,
                FRAMES: len(runner.train_dataloader.dataset),
                STEPS: len(runner.train_dataloader),
                **{f'content of {key}': _sha256(path) for key, path in files.items() if path and Path(path).is_file()},
            }
        return self.training_set


def _training_set_of(settings: Mapping, meta: Mapping) -> dict:
    """What a checkpoint says of its training set; of an older one, what follows from its end of an epoch."""
    if 'training_set' in meta:
        return meta['training_set']
    by_epoch = settings.get('default_hooks', {}).get('checkpoint', {}).get('by_epoch', True)
    epoch, iteration = meta.get('epoch', 0), meta.get('iter', 0)
    if by_epoch and 'max_epochs' in settings.get('train_cfg', {}) and epoch and iteration % epoch == 0:
        return {STEPS: iteration // epoch}
    return {}


def _is_refused(name: str, settings: Mapping) -> bool:
    if name in LENGTHS:
        schedules = settings.get('param_scheduler') or []
        return any('end' not in each for each in (schedules if isinstance(schedules, list) else [schedules]))
    return name == STEPS or any(name == kept or name.startswith(f'{kept}.') for kept in KEPT)


def _listed(changed: Mapping[str, tuple]) -> str:
    return ', '.join(f'{name} was {was}, is {now}' for name, (was, now) in changed.items())


def _way_back(
    changed: Mapping[str, tuple], refused: Mapping[str, tuple], settings: Mapping, there: Mapping, here: Mapping
) -> str:
    """The options that give the old settings back, as far as a command line can."""
    options = {
        name: was
        for name, (was, _) in changed.items()
        if (name in refused or (STEPS in refused and name.startswith('train_dataloader.')))
        and (was is None or (isinstance(was, (int, float, str)) and was != ABSENT and name != STEPS))
    }
    if STEPS in refused and GPUS in changed:  # the same total
        options.pop(BATCH, None)
        share, rest = divmod(settings.get('train_dataloader', {}).get('batch_size', 0) * there[GPUS], here[GPUS])
        if share and not rest:
            options[BATCH] = share
    ways = [f'on {there[GPUS]} GPUs'] if STEPS in refused and GPUS in changed else []
    if options:
        ways.append('--cfg-options ' + ' '.join(f'{name}={was}' for name, was in options.items()))
    return f' ({", or ".join(ways)})' if ways else ''


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
