from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.datasets.seeded_samples import SeededSamples
from cleverdistiller.datasets.split_data_base_sampler import for_dataset
from cleverdistiller.errors import InputError


class DetectionDataset(SeededSamples):
    """Put before one of mmdet3d's detection datasets: the frames of one info file, in whole or in part.

    Args:
        metainfo (dict | None): ``classes`` in the order of their labels; None takes Pedestrian, Cyclist, Car.
        frame_list (str | None): A file of ``tools/splits.py``: train on these frames only. None takes all. A ground-
            truth sampler in the pipeline gets the same list, and the classes.
        pipeline (Sequence): Configs of transforms.
        **kwargs: For the dataset that it is put before (``data_root``, ``ann_file``, ...).

    Raises:
        InputError: If the info file is missing, of another version or set, or empty, if the frame list is of other
            frames, if a sampler would paste objects of other frames or under other labels, or if no frame to train on
            has an object.
    """

    name: ClassVar[str]
    index_tool: ClassVar[str]
    load_interval = 1

    def __init__(
        self, metainfo: dict | None = None, frame_list: str | None = None, pipeline: Sequence = (), **kwargs
    ) -> None:
        self.frame_list = frame_list
        metainfo = {'classes': ('Pedestrian', 'Cyclist', 'Car'), **(metainfo or {})}
        super().__init__(metainfo=metainfo, pipeline=for_dataset(pipeline, metainfo['classes'], frame_list), **kwargs)

    @classmethod
    @abstractmethod
    def frame_id(cls, record: dict) -> str:
        """Name of a frame, the same on every machine."""

    @classmethod
    @abstractmethod
    def scene_order(cls, record: dict) -> tuple:
        """What sorts the scenes of a set; equal for frames of one scene."""

    def load_data_list(self) -> list[dict]:
        infos = read_infos(self.ann_file, self.index_tool)
        records, made_for = infos['data_list'], infos['metainfo'].get('dataset')
        if made_for != self.name:
            raise InputError(
                f'{self.ann_file} of {made_for} for {self.name}',
                f'an info file of {self.name}',
                f'set ann_file, or make one with {self.index_tool}',
            )
        chosen = range(0, len(records), self.load_interval)
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
