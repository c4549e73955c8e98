from pathlib import Path

from mmdet3d.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from torch.utils.data import Dataset

from cleverdistiller.provenance import is_simulated, versions, write_results


@HOOKS.register_module()
class WriteResultsHook(Hook):
    """Write the metrics to the work dir, with what they were made from.

    ``val_results.json`` after each validation (``--resume`` makes up for one that a kill prevented),
    ``test_results.json`` after a test, and ``test_tta_results.json`` after a test with test-time augmentation, which is
    to be reported apart.

    ``made_from`` holds ``config``, ``checkpoint`` (that the run started or resumed from), ``epoch``, ``seed``,
    ``student_weights``, ``frozen`` and ``bn_train_in_lp`` of the model or its backbone, ``ann_file`` and ``frame_list``
    of the training set, ``gt_db`` where objects are pasted, ``scored`` (class, info file and number of frames of the
    set that was scored), ``versions``, and ``simulated`` if the scored data are. A checkpoint carries those of its
    training along, so that a test tells how its weights came to be, whatever the config of the test says.
    """

    def __init__(self) -> None:
        self.checkpoint: str | None = None
        self.epoch: int | None = None
        self.training: dict | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note where the weights come from; a resumed run without a path takes the newest."""
        self.checkpoint = runner._load_from
        if self.checkpoint is None and runner._resume:
            self.checkpoint = find_latest_checkpoint(runner.work_dir)
        meta = checkpoint.get('meta', {})
        self.epoch, self.training = meta.get('epoch'), meta.get('training')

    def before_train(self, runner: Runner) -> None:
        """Validate if a training is resumed after its last step: the kill may have come before its validation."""
        if runner._resume and runner.val_loop is not None and runner.iter >= runner.max_iters:
            runner.val_loop.run()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['training'] = _training(runner)

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._write('val_results.json', runner, metrics, runner.val_dataloader.dataset)

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        name = 'test_tta_results.json' if isinstance(model, BaseTTAModel) else 'test_results.json'
        self._write(name, runner, metrics, runner.test_dataloader.dataset)

    def _write(self, name: str, runner: Runner, metrics: dict[str, float], scored: Dataset) -> None:
        if isinstance(runner._train_loop, BaseLoop):  # validation between epochs; runner.epoch would build the loop
            epoch, training = runner.epoch, _training(runner)
        else:
            epoch, training = self.epoch, self.training or _training(runner)
        made_from = dict(
            config=runner.cfg.filename,
            checkpoint=self.checkpoint,
            epoch=epoch,
            **training,
            scored=dict(
                dataset=type(scored).__name__,
                ann_file=getattr(scored, 'ann_file', None),
                frame_list=getattr(scored, 'frame_list', None),
                frames=len(scored),
            ),
            versions=versions(),
        )
        if is_simulated(getattr(scored, 'data_root', None) or ''):
            made_from['simulated'] = True
        write_results(Path(runner.work_dir) / name, metrics, made_from)


def _training(runner: Runner) -> dict:
    """What the run's config says about training, as plain values."""
    model = runner.cfg.get('model') or {}
    model = model.get('module') or model  # inside a model for test-time augmentation
    frames = (runner.cfg.get('train_dataloader') or {}).get('dataset') or {}
    holders = (model.get('backbone') or {}, model)  # a detector's backbone holds its student, a segmentor itself
    said = {
        key: part[key] for part in holders for key in ('student_weights', 'frozen', 'bn_train_in_lp') if key in part
    }
    said |= {key: frames[key] for key in ('ann_file', 'frame_list') if key in frames}
    for step in frames.get('pipeline') or ():
        if 'gt_db' in (step.get('db_sampler') or {}):
            said['gt_db'] = step['db_sampler']['gt_db']
    return dict(seed=runner.seed, **said)
