import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmdet3d.datasets.transforms.dbsampler import DataBaseSampler
from mmdet3d.registry import TRANSFORMS
from mmengine.logging import print_log

from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.errors import InputError


@TRANSFORMS.register_module()
class SplitDataBaseSampler(DataBaseSampler):
    """mmdet3d's ground-truth sampler, but of the frames alone that a few-label run may see.

    Published few-label numbers were in part made with objects of the whole training set, which tells a 5 % run all its
    labels. That is ``gt_db='full'`` here, and the log says which it was. The database is filtered as it is loaded, so
    that no split needs files of its own.

    Objects are drawn anew for each frame, without going on from the last one: with :class:`SeededSamples` a frame's
    objects do not depend on the number of workers. mmdet3d's own sampler also stops at numpy 1.24 (``np.long``) and
    with a KeyError at a class without objects.

    Args:
        info_path (str): Database's records (``kitti_dbinfos_train.pkl``), made by our ``tools/prepare_*.py``.
        sample_groups (dict): Class to the number of its objects that a frame is filled up to.
        frame_list (str | None): A file of ``tools/splits.py``; the dataset hands on its own. None is all frames.
        gt_db (str): ``'split'`` for objects of the listed frames, ``'full'`` for those of all frames.
        prepare (dict | None): mmdet3d's filters, such as ``filter_by_min_points``.
        **kwargs: For :class:`mmdet3d.datasets.transforms.DataBaseSampler` (``data_root``, ``rate``, ``classes``,
            ``points_loader``).

    Raises:
        InputError: If ``gt_db`` is neither, if the records are missing, damaged or made by mmdet3d's own tool, or if a
            class of ``sample_groups`` has no object.
    """

    def __init__(
        self,
        info_path: str,
        sample_groups: dict,
        frame_list: str | None = None,
        gt_db: str = 'split',
        prepare: dict | None = None,
        **kwargs,
    ) -> None:
        if gt_db not in ('split', 'full'):
            raise InputError(f'gt_db={gt_db!r}', "'split' or 'full'", 'choose one of them')
        if not osp.isfile(info_path):
            raise InputError(
                f'{info_path}, which is not a file', 'a ground-truth database', 'make it with the tools/prepare_*.py'
            )
        self.frame_list = frame_list
        self.gt_db = gt_db
        self.info_path = info_path
        self._groups = dict(sample_groups)
        super().__init__(
            info_path=info_path,
            sample_groups=sample_groups,
            prepare={'filter_by_frames': frame_list, **(prepare or {})},
            **kwargs,
        )
        self._refuse_absent(self.db_infos, f'after {", ".join(prepare or ["no filter"])}')
        self.sampler_dict = {name: _IndependentDraws(found) for name, found in self.db_infos.items()}

    def filter_by_frames(self, db_infos: dict, frame_list: str | None) -> dict:
        """Keep the objects of the listed frames, unless ``gt_db`` is ``'full'``.

        Args:
            db_infos (dict): Class to its objects' records.
            frame_list (str | None): A file of ``tools/splits.py``; None keeps all.
        """
        objects = [one for found in db_infos.values() for one in found]
        if any(not isinstance(one['image_idx'], str) for one in objects):
            raise InputError(
                f"{self.info_path}, which names objects after places in a list (mmdet3d's create_data.py)",
                "frames' ids",
                'make it again with the tools/prepare_*.py of the dataset',
            )
        kept = db_infos
        if frame_list is not None and self.gt_db == 'split':
            frames = frozenset(FrameList.read(frame_list).frames)
            kept = {name: [one for one in found if one['image_idx'] in frames] for name, found in db_infos.items()}
        count = sum(map(len, kept.values()))
        origin = 'all frames' if kept is db_infos else f'the frames of {frame_list}'
        if not count:
            raise InputError(
                f'{self.info_path} without any object in {origin}',
                'the database and the list of one training set',
                'choose another list, or set gt_db, info_path or both',
            )
        print_log(
            f'ground-truth database: gt_db={self.gt_db}, {count} of {len(objects)} objects, of {origin}', 'current'
        )
        self._refuse_absent(kept, f'in {origin}')
        return kept

    def _refuse_absent(self, db_infos: dict, where: str) -> None:
        for name, wanted in self._groups.items():
            if wanted and not db_infos.get(name):
                raise InputError(
                    f'{self.info_path} without a {name} {where}',
                    f'objects of each class of sample_groups, {", ".join(self._groups)}',
                    f"leave {name} out of sample_groups, take more frames, or set gt_db='full' and say so",
                )

    def sample_all(
        self, gt_bboxes: np.ndarray, gt_labels: np.ndarray, img: None = None, ground_plane: None = None
    ) -> dict | None:
        """Draw objects that collide neither with a frame's own nor with each other.

        Args:
            gt_bboxes (np.ndarray): (M, 7) the frame's boxes.
            gt_labels (np.ndarray): (M,) their classes.
            img (None): Not supported.
            ground_plane (None): Not supported.

        Returns:
            dict | None: ``gt_bboxes_3d`` (m, 7), ``gt_labels_3d`` (m,) and ``points`` of the drawn objects; None if
            there are none.
        """
        if img is not None or ground_plane is not None:
            raise InputError('sample_2d or use_ground_plane', 'neither', 'leave them out of ObjectSample')
        occupied, drawn = gt_bboxes, []
        for name, wanted in self._groups.items():
            lacking = round(self.rate * (wanted - np.count_nonzero(gt_labels == self.cat2label[name])))
            if lacking > 0:
                found = self.sample_class_v2(name, lacking, occupied)
                drawn += found
                occupied = np.concatenate([occupied, *(one['box3d_lidar'][None] for one in found)])
        if not drawn:
            return None
        points = [self._load(one) for one in drawn]
        return dict(
            gt_labels_3d=np.array([self.cat2label[one['name']] for one in drawn], dtype=np.int64),
            gt_bboxes_3d=occupied[len(gt_bboxes) :],
            points=points[0].cat(points),
        )

    def _load(self, one: dict):
        path = osp.join(self.data_root or '', one['path'])
        points = self.points_loader(dict(lidar_points=dict(lidar_path=path)))['points']
        points.translate(one['box3d_lidar'][:3])
        return points


class _IndependentDraws:
    """Stands for mmdet3d's ``BatchSampler``, without its memory of earlier draws."""

    def __init__(self, objects: Sequence[dict]) -> None:
        self._objects = objects

    def sample(self, num: int) -> list[dict]:
        rows = np.random.choice(len(self._objects), min(num, len(self._objects)), replace=False)
        return [self._objects[row] for row in rows]


def with_frame_list(pipeline: Sequence, frame_list: str | None) -> list:
    """Give a dataset's frame list to the ground-truth samplers of its pipeline.

    Args:
        pipeline (Sequence): Configs of transforms.
        frame_list (str | None): The dataset's; None changes nothing.

    Returns:
        list: The pipeline.

    Raises:
        InputError: If a sampler would draw from other frames: one with another list, or one that knows none.
    """
    return [_handed_on(step, frame_list) for step in pipeline]


def _handed_on(step, frame_list: str | None):
    sampler = step.get('db_sampler') if isinstance(step, dict) else None
    if sampler is None or frame_list is None:
        return step
    if not str(sampler.get('type')).endswith(SplitDataBaseSampler.__name__):
        raise InputError(
            f'frame_list {frame_list} with the ground-truth sampler {sampler.get("type", DataBaseSampler.__name__)}',
            'a sampler that keeps to the listed frames',
            f"set its type to {SplitDataBaseSampler.__name__}, and gt_db='full' if you want objects of all frames",
        )
    if sampler.get('frame_list') not in (None, frame_list):
        raise InputError(
            f'frame_list {frame_list} for the frames and {sampler["frame_list"]} for the pasted objects',
            'one list',
            "leave it out of db_sampler: the dataset's holds for both",
        )
    return dict(step, db_sampler=dict(sampler, frame_list=frame_list))
