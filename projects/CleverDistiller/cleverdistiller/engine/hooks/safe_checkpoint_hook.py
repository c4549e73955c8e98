import os
import re
from pathlib import Path

import numpy as np
from mmdet3d.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from cleverdistiller.engine.finite_state import check_finite_state
from cleverdistiller.engine.unwrapped import unwrapped
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import (
    check_finite,
    check_state_dict,
    is_safetensors,
    read_checkpoint,
    remove_leftovers,
    replace_when_complete,
    visible_paths,
)

STUDENTS_PLACE = 'an exported student goes to model.student_weights or, in a detector, model.backbone.student_weights'


@register_backend('replace_when_complete')
class _ReplaceWhenComplete(LocalBackend):
    """A local backend whose files appear whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        with replace_when_complete(filepath) as temporary:
            temporary.write_bytes(obj)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook for machines that die and files that strangers made.

    - A checkpoint cut short by a kill never takes the name of a good one; ``--resume`` starts from the
      newest whole one.
    - Checkpoints hold tensors and plain values only. Before resuming or loading, the file is read with
      ``weights_only=True``; one that needs arbitrary unpickling is refused.
    - mmengine loads what fits and warns about the rest. Here a checkpoint must fit the whole model to be tested or
      resumed, and its whole backbone to be trained on.
    - Weights or BatchNorm statistics that are NaN or infinite are never written, and no older checkpoint goes for them.

    Args:
        max_keep_ckpts (int): At least 2, because mmengine deletes the oldest before it writes the newest.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        InputError: If ``max_keep_ckpts`` is 1, or the checkpoint to start from is missing, damaged or unsafe, or does
            not fit.
        RuntimeError: If what is to be written is not finite.
    """

    def __init__(self, *args, max_keep_ckpts: int = 2, **kwargs) -> None:
        if max_keep_ckpts == 1:
            raise InputError(
                'max_keep_ckpts=1',
                'at least 2: the older is deleted before the newer is written',
                'set default_hooks.checkpoint.max_keep_ckpts=2',
            )
        kwargs.setdefault('backend_args', dict(backend='replace_when_complete'))
        super().__init__(*args, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self._loaded: dict | None = None
        self._newest: Path | None = None  # that --resume found by itself

    def before_run(self, runner: Runner) -> None:
        """Check the file that the runner is about to unpickle."""
        path = runner._load_from
        if runner._resume and path is None:
            path = self._newest = self._repair_pointer(Path(runner.work_dir))
        if path is not None and os.path.exists(path):
            content = read_checkpoint(path)
            if is_safetensors(path):
                raise InputError(
                    f'{path}, a safetensors file, as checkpoint of a whole model',
                    'a checkpoint of a training with this config, such as epoch_N.pth',
                    STUDENTS_PLACE,
                )
            check_finite(content.get('state_dict', content), path)
        elif path is not None and '://' not in str(path):
            raise InputError(
                f'checkpoint {path}, which is not a file', 'a checkpoint to start from', 'check --resume or load_from'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the weights that mmengine is about to load for a moment; an optimiser's state would fail first."""
        self._loaded = checkpoint.get('state_dict', checkpoint)
        if runner._resume:
            self._check_fit(runner, parts=('',))

    def before_test(self, runner: Runner) -> None:
        """Refuse to measure a model of which only a part was loaded."""
        self._check_fit(runner, parts=('',))

    def before_train(self, runner: Runner) -> None:
        """Refuse to train a backbone of which only a part was loaded with ``load_from``."""
        super().before_train(runner)
        if is_main_process():  # not before a test, which may look at a training that is going on
            remove_leftovers(Path(runner.work_dir))  # each as large as a checkpoint
        self._check_fit(runner, parts=('backbone.', 'student.'))

    def _check_fit(self, runner: Runner, parts: tuple[str, ...]) -> None:
        """Compare what was loaded with the model's tensors whose names start with one of ``parts``."""
        found, self._loaded = self._loaded, None
        if found is None:
            return
        model = unwrapped(runner)
        check_state_dict(
            {name: value for name, value in found.items() if name.startswith(parts)} or found,
            {name: value for name, value in model.state_dict().items() if name.startswith(parts)},
            runner._load_from or self._newest,
            f'a {type(model).__name__} of this config',
            f'give the config that the checkpoint was trained with; {STUDENTS_PLACE}',
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        check_finite_state(runner, f'{self.filename_tmpl.format(step)} is not written')  # or the oldest would go first
        super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if self.save_best:
            check_finite_state(runner, 'no best checkpoint is written')
        super()._save_best_checkpoint(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep plain values: the logger's smoothing windows are objects, some of its values numpy's."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {}
        hub['runtime_info'] = {
            key: value.item() if isinstance(value, np.generic) else value for key, value in hub['runtime_info'].items()
        }
        hub['resumed_keys'] = {
            key: resumed for key, resumed in hub['resumed_keys'].items() if key in hub['runtime_info']
        }

    def _repair_pointer(self, work_dir: Path) -> Path | None:
        """The newest whole checkpoint; rewrite ``last_checkpoint`` where a kill left it behind or empty."""
        paths = visible_paths(work_dir, '*.pth')
        numbered = {path: re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name) for path in paths}
        numbered = {path: int(match[1]) for path, match in numbered.items() if match}
        if not numbered:
            return None
        newest = max(numbered, key=numbered.get)
        with replace_when_complete(work_dir / 'last_checkpoint') as temporary:
            temporary.write_text(str(newest))
        return newest
