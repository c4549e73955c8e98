from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from cleverdistiller.errors import InputError

# What a model logs, or a batch holds, to learn from: (what it is, the remedy where there is none).
CAUSES = dict(
    pairs=(
        'point that a camera sees',
        'look at what is paired: python tools/visualize.py pairs {config} --out pairs.png. The sheet would show the '
        'images without a dot, or with dots that do not lie on what they belong to; then lidar2cam (4x4, LiDAR to '
        'camera, metres, z forward) or cam2img of the info file is wrong: inverted, of another sensor, or in other '
        'units',
    ),
    contrasted=(
        'point in a superpixel',
        'look at what is paired (python tools/visualize.py pairs {config} --out pairs.png) and make the superpixels '
        'again (python tools/superpixels.py {config})',
    ),
    temporal_pairs=(
        "point that lies on one of the next keyframe's",
        'check the poses and scenes of the info file, raise max_distance_m of LoadNextSweep, or train without '
        'TemporalConsistency',
    ),
    queries=(
        'occupancy query with a point near it',
        'check that points are in metres, raise radius_m of SampleOccupancyQueries, or train with '
        'model.occupancy_head=None',
    ),
    labelled_voxels=(
        'point with a class',
        'look at the labels (python tools/visualize.py frame INFO_FILE), and check data_prefix.pts_semantic_mask and '
        "that the labels' raw ids are those of this dataset",
    ),
    objects=(
        'object of a class that is learned',
        'look at the boxes (python tools/visualize.py frame INFO_FILE), and check metainfo.classes, '
        'point_cloud_range and the filters of the pipeline',
    ),
)


@HOOKS.register_module()
class NothingToLearnHook(Hook):
    """Stop a training whose batches hold nothing to learn from: its loss is 0, and its student stays random.

    A single batch without pairs, labels or objects is legal. ``patience`` of them in a row, over all processes, or a
    whole pass over the data, are a wrong calibration, folder or list of classes. Counted are the ``pairs``,
    ``contrasted``, ``temporal_pairs`` and ``labelled_voxels`` that a model logs, the objects of a detector's batch, and
    the occupancy queries with support, where they are learned from.

    A camera without a pair in the first ``patience`` iterations, among others that have some, is named in a warning.

    The host waits for the GPU once in ``patience`` iterations.

    Args:
        patience (int): Iterations.

    Raises:
        InputError: With what is missing, the cameras and the remedy.
    """

    priority = 'VERY_HIGH'

    def __init__(self, patience: int = 50) -> None:
        self.patience = patience
        self._window: dict[str, Tensor] = {}  # the most that an iteration of this window had
        self._pass: dict[str, Tensor] = {}
        self._iterations = 0  # of the pass
        self._of_camera: Counter[str] | None = Counter()  # None once they have been looked at

    def before_train_epoch(self, runner: Runner) -> None:
        self._window, self._pass, self._iterations = {}, {}, 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        _keep_most(self._window, _counts(data_batch or {}, outputs or {}))
        if self._of_camera is not None:
            self._of_camera.update(_pairs_of_cameras(data_batch or {}))
        self._iterations += 1
        if self._iterations % self.patience == 0:
            self._check(runner, self._window, f'the last {self.patience} iterations')
            _keep_most(self._pass, self._window)
            self._window = {}

    def after_train_epoch(self, runner: Runner) -> None:
        """Before a checkpoint of nothing is written."""
        _keep_most(self._pass, self._window)
        if self._iterations >= len(runner.train_dataloader):  # not the rest of a resumed training
            self._check(runner, self._pass, f'a whole pass of {self._iterations} iterations over the training set')

    def _check(self, runner: Runner, most: Mapping[str, Tensor], when: str) -> None:
        if not most:
            return
        counts = torch.stack([count.float() for count in most.values()])
        all_reduce(counts, 'max')
        of_cameras = self._look_at_cameras()
        cameras = of_cameras or (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('cameras', ())
        for name, count in zip(most, counts.tolist()):
            if count > 0:
                continue
            what, remedy = CAUSES[name]
            config = Path(runner.work_dir) / Path(runner.cfg.filename or 'CONFIG').name  # with --cfg-options merged
            seen_by = f' (cameras {", ".join(cameras)})' if cameras and name in ('pairs', 'contrasted') else ''
            raise InputError(
                f'{when}, up to iteration {runner.iter}, without a single {what}{seen_by}',
                f'some {name.replace("_", " ")} in most iterations; there is nothing to learn, and nothing is exported',
                remedy.format(config=config),
            )
        blind = [camera for camera, count in of_cameras.items() if not count]
        if blind:
            runner.logger.warning(
                f'no point was seen by {", ".join(blind)} in {when}, while other cameras saw some: look at '
                f'python tools/visualize.py pairs CONFIG, and check lidar2cam and cam2img of the info file'
            )

    def _look_at_cameras(self) -> Mapping[str, int]:
        """Pairs of each camera until now, over all ranks; only the first time."""
        if self._of_camera is None:
            return {}
        own, self._of_camera = self._of_camera, None
        total = Counter()
        for of_rank in all_gather_object(own):
            total.update(of_rank)
        return total


def _keep_most(most: dict[str, Tensor], counts: Mapping[str, Tensor]) -> None:
    for name, count in counts.items():
        most[name] = torch.maximum(most[name], count) if name in most else count


def _counts(data_batch: Mapping, outputs: Mapping) -> dict[str, Tensor]:
    """What there is to learn from in one iteration, all on the device of what the model logs."""
    found = {name: outputs[name].detach().float() for name in CAUSES if isinstance(outputs.get(name), Tensor)}
    device = next((value.device for value in outputs.values() if isinstance(value, Tensor)), None)
    queries = _inputs(data_batch).get('queries')
    if queries is not None and 'loss_occupancy' in outputs:
        found['queries'] = torch.full((), float(sum(len(scan.support_point) for scan in queries)), device=device)
    objects = [
        sample.gt_instances_3d.labels_3d
        for sample in data_batch.get('data_samples', ())
        if 'labels_3d' in getattr(sample, 'gt_instances_3d', ())
    ]
    if objects:
        found['objects'] = sum((labels >= 0).sum() for labels in objects).float().to(device, non_blocking=True)
    return found


def _pairs_of_cameras(data_batch: Mapping) -> Counter[str]:
    """Pairs of each camera by name; the batch is still in main memory."""
    total = Counter()
    for pairs, sample in zip(_inputs(data_batch).get('pairs', ()), data_batch.get('data_samples', ())):
        names = sample.metainfo.get('camera_names', ())
        counts = torch.bincount(pairs.image_index, minlength=len(names)).tolist()
        total.update(dict(zip(names, counts)))
    return total


def _inputs(data_batch: Mapping) -> Mapping:
    inputs = data_batch.get('inputs')
    return inputs if isinstance(inputs, Mapping) else {}
