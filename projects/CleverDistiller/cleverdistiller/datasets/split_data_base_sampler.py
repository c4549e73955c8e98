import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmdet3d.datasets.transforms.dbsampler import DataBaseSampler
from mmdet3d.registry import TRANSFORMS
from mmengine.logging import print_log

from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.errors import InputError
from cleverdistiller.plain_pickle import read_plain_pickle

_FIELDS = frozenset({'name', 'path', 'image_idx', 'box3d_lidar', 'num_points_in_gt', 'difficulty'})


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
        classes (Sequence[str]): In the order of their labels; the dataset hands on its own.
        points_loader (dict): Config of the transform that reads an object's points.
        data_root (str | None): What the records' paths start from.
        rate (float): Share of the lacking objects to paste.
        frame_list (str | None): A file of ``tools/splits.py``; the dataset hands on its own. None is all frames.
        gt_db (str): ``'split'`` for objects of the listed frames, ``'full'`` for those of all frames.
        prepare (dict | None): mmdet3d's filters, such as ``filter_by_min_points``.

    Raises:
        InputError: If ``gt_db`` is neither, if the records are missing, damaged or made by mmdet3d's own tool, or if a
            class of ``sample_groups`` has no object or is none of ``classes``.
    """

    def __init__(
        self,
        info_path: str,
        sample_groups: dict,
        classes: Sequence[str],
        points_loader: dict,
        data_root: str | None = None,
        rate: float = 1.0,
        frame_list: str | None = None,
        gt_db: str = 'split',
        prepare: dict | None = None,
    ) -> None:
        if gt_db not in ('split', 'full'):
            raise InputError(f'gt_db={gt_db!r}', "'split' or 'full'", 'choose one of them')
        # Not the base's: it reads the records unchecked, and draws from numpy's generator.
        self.info_path = info_path
        self.data_root = data_root
        self.rate = rate
        self.cat2label = {name: label for label, name in enumerate(classes)}
        self.frame_list = frame_list
        self.gt_db = gt_db
        self._groups = {name: number for name, number in sample_groups.items() if number}
        if strangers := [name for name in self._groups if name not in self.cat2label]:
            raise InputError(
                f'sample_groups with {", ".join(strangers)}',
                f'classes of the dataset, {", ".join(classes)}',
                'leave them out of sample_groups or set them to 0, or name them in the metainfo of the dataset',
            )
        self.points_loader = TRANSFORMS.build(points_loader)
        self.db_infos = self.filter_by_frames(_read_database(info_path), frame_list)
        for name, value in (prepare or {}).items():
            self.db_infos = getattr(self, name)(self.db_infos, value)
        self._refuse_absent(self.db_infos, f'after {", ".join(prepare or ["no filter"])}')
        left = ', '.join(f'{len(found)} {name}' for name, found in self.db_infos.items())
        print_log(f'ground-truth database, filtered: {left}', 'current')
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

    def filter_by_min_points(self, db_infos: dict, min_gt_points_dict: dict) -> dict:
        """Keep objects with so many points or more; unlike mmdet3d's, of classes without any object, too.

        Args:
            db_infos (dict): Class to its objects' records.
            min_gt_points_dict (dict): Class to the least number.
        """
        if strangers := [name for name in min_gt_points_dict if name not in (*db_infos, *self.cat2label)]:
            raise InputError(
                f'filter_by_min_points with {", ".join(strangers)}',
                f'classes of {self.info_path} or of the dataset, {", ".join(self.cat2label)}',
                'correct their names in prepare',
            )
        present = {name: least for name, least in min_gt_points_dict.items() if name in db_infos}
        return super().filter_by_min_points(db_infos, present)

    def _refuse_absent(self, db_infos: dict, where: str) -> None:
        for name in self._groups:
            if not db_infos.get(name):
                raise InputError(
                    f'{self.info_path} without a {name} {where}',
                    f'objects of each class of sample_groups, {", ".join(self._groups)}',
                    f"leave {name} out of sample_groups or set it to 0, take more frames, or set gt_db='full'",
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


def _read_database(path: str) -> dict:
    maker = 'the tools/prepare_*.py of the dataset'
    if not osp.isfile(path):
        raise InputError(f'{path}, which is not a file', 'a ground-truth database', f'make it with {maker}')
    database = read_plain_pickle(path, 'a ground-truth database', f'make it again with {maker}')
    if not isinstance(database, dict) or not all(map(_has_records, database.values())):
        raise InputError(
            f'{path}, which is no ground-truth database',
            f'for each class a list of records with {", ".join(sorted(_FIELDS))}',
            f'make it again with {maker}',
        )
    return database


def _has_records(objects) -> bool:
    return isinstance(objects, list) and all(isinstance(one, dict) and one.keys() >= _FIELDS for one in objects)


class _IndependentDraws:
    """Stands for mmdet3d's ``BatchSampler``, without its memory of earlier draws."""

    def __init__(self, objects: Sequence[dict]) -> None:
        self._objects = objects

    def sample(self, num: int) -> list[dict]:
        rows = np.random.choice(len(self._objects), min(num, len(self._objects)), replace=False)
        return [self._objects[row] for row in rows]


def for_dataset(pipeline: Sequence, classes: Sequence[str], frame_list: str | None) -> list:
    """Give a dataset's classes and frame list to the ground-truth samplers of its pipeline.

    Args:
        pipeline (Sequence): Configs of transforms.
        classes (Sequence[str]): The dataset's, in the order of their labels.
        frame_list (str | None): The dataset's; None leaves the sampler its own.

    Returns:
        list: The pipeline.

    Raises:
        InputError: If a sampler would label objects otherwise, or draw from other frames: one with other classes or
            with another list, or one that knows no lists.
    """
    return [_handed_on(step, tuple(classes), frame_list) for step in pipeline]


def _handed_on(step, classes: tuple[str, ...], frame_list: str | None):
    sampler = step.get('db_sampler') if isinstance(step, dict) else None
    if sampler is None:
        return step
    own = tuple(sampler.get('classes') or classes)
    if own != classes:
        raise InputError(
            f'the classes {", ".join(classes)} for the frames and {", ".join(own)} for the pasted objects',
            'the same in the same order: their places are the labels',
            "leave them out of db_sampler: the dataset's hold for both",
        )
    sampler = dict(sampler, classes=classes)
    if frame_list is not None:
        _refuse_other_frames(sampler, frame_list)
        sampler['frame_list'] = frame_list
    return dict(step, db_sampler=sampler)


def _refuse_other_frames(sampler: dict, frame_list: str) -> None:
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
