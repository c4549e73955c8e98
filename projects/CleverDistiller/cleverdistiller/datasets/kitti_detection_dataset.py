from pathlib import PurePath

from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.datasets.split_data_base_sampler import for_dataset
from cleverdistiller.errors import InputError


@DATASETS.register_module()
class KittiDetectionDataset(SeededSamples, KittiDataset):
    """KITTI's object detection benchmark on mmdet3d's ``KittiDataset``, in whole or in part.

    A sample keeps its frame's six digits as ``frame_id``; ``sample_idx`` is a place in the list, with which mmengine
    overwrites what the info file says. Index: ``tools/prepare_kitti.py``.

    Args:
        ann_file (str): Info file (``.pkl``), relative to ``data_root``.
        metainfo (dict | None): ``classes`` in the order of their labels; None takes Pedestrian, Cyclist, Car.
        frame_list (str | None): A file of ``tools/splits.py``: train on these frames only. None takes all. A ground-
            truth sampler in the pipeline gets the same list, and the classes.
        pipeline (list): Configs of transforms.
        **kwargs: For :class:`mmdet3d.datasets.KittiDataset` (``data_root``, ``data_prefix``, ``test_mode``,
            ``filter_empty_gt``, ...).

    Raises:
        InputError: If the info file is missing, of another version or set, or empty, if the frame list is of other
            frames, if a sampler would paste objects of other frames or under other labels, or if no frame to train on
            has an object.
    """

    name = 'kitti'
    index_tool = 'tools/prepare_kitti.py'

    def __init__(
        self,
        data_root: str | None = None,
        ann_file: str = '',
        metainfo: dict | None = None,
        frame_list: str | None = None,
        pipeline: list | tuple = (),
        **kwargs,
    ) -> None:
        self.frame_list = frame_list
        metainfo = {'classes': ('Pedestrian', 'Cyclist', 'Car'), **(metainfo or {})}
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            metainfo=metainfo,
            pipeline=for_dataset(pipeline, metainfo['classes'], frame_list),
            **kwargs,
        )

    @classmethod
    def frame_id(cls, record: dict) -> str:
        """Name of a frame, the same on every machine: six digits."""
        return PurePath(record['lidar_points']['lidar_path']).stem

    @classmethod
    def scene_order(cls, record: dict) -> tuple:
        """The same for all: the benchmark does not say which frames are of one drive."""
        return ()

    def load_data_list(self) -> list[dict]:
        infos = read_infos(self.ann_file, self.index_tool)
        records, made_for = infos['data_list'], infos['metainfo'].get('dataset')
        if made_for != self.name:
            raise InputError(
                f'{self.ann_file} of {made_for} for {self.name}',
                f'an info file of {self.name}',
                f'set ann_file, or make one with {self.index_tool}',
            )
        chosen = range(len(records))
        if self.frame_list is not None:
            ids = [self.frame_id(record) for record in records]
            chosen = FrameList.read(self.frame_list).rows(self.name, ids, self.ann_file)
        samples = [self.parse_data_info(records[row]) for row in chosen]
        # The base looks for another frame a thousand times, then fails without naming a file.
        if not self.test_mode and self.filter_empty_gt and not sum(self.num_ins_per_cat):
            raise InputError(
                f'{self.ann_file}: {len(samples)} frames without a {" or ".join(self.metainfo["classes"])}',
                'frames with objects to train on',
                'choose other frames or classes, or set filter_empty_gt=False',
            )
        return samples

    def parse_data_info(self, info: dict) -> dict:
        """Keep the frame's id, and leave boxes in the image behind: mmengine copies what is here for every sample."""
        frame_id = self.frame_id(info)
        if self.load_type == 'frame_based':
            info.pop('cam_instances', None)
        return dict(super().parse_data_info(info), frame_id=frame_id)
