import json

import numpy as np
from mmdet3d.registry import METRICS

from cleverdistiller.datasets.label_set import NUSCENES
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.seg_submission import SegSubmission
from cleverdistiller.fileio import replace_when_complete


@METRICS.register_module()
class NuScenesSegSubmission(SegSubmission):
    """Predictions as the nuScenes lidar segmentation challenge wants them: class k as k + 1, one byte a point.

    ``lidarseg/{eval_set}/{sample_data_token}_lidarseg.bin`` and ``{eval_set}/submission.json``, which nuscenes-devkit
    validates and evaluates.

    Args:
        out_dir (str): Folder to fill.
        eval_set (str): The devkit's name of the set: ``test``, ``val``, ``mini_val``, ...
        use_camera (bool): Cameras are an input. A distilled student looks at the scan alone, although it was
            distilled with the help of the training images; so are the other flags about inputs.
        use_lidar (bool): LiDAR is an input.
        use_radar (bool): Radar is an input.
        use_map (bool): Maps are an input.
        use_external (bool): Other data were used in training. True, because the teacher (DINOv2) learnt from other
            images; set it to False only for a student trained from scratch.
        **kwargs: See :class:`SegSubmission`.

    Raises:
        InputError: If a frame has no ``sample_data_token``; see also :class:`SegSubmission`.
    """

    raw_ids = np.arange(1, 1 + len(NUSCENES.names), dtype=np.uint8)

    def __init__(
        self,
        out_dir: str,
        eval_set: str = 'test',
        use_camera: bool = False,
        use_lidar: bool = True,
        use_radar: bool = False,
        use_map: bool = False,
        use_external: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(out_dir, **kwargs)
        self.eval_set = eval_set
        self.meta = dict(
            use_camera=use_camera,
            use_lidar=use_lidar,
            use_radar=use_radar,
            use_map=use_map,
            use_external=use_external,
        )

    def file_of(self, sample: dict) -> str:
        """Named after the sweep's token."""
        token = sample.get('sample_data_token')
        if not token:
            raise InputError(
                f'{sample.get("lidar_path")} without its sample_data_token',
                'an info file that names the tokens of the sweeps, and sample_data_token among the meta_keys of '
                'Pack3DDetInputs',
                'rebuild the info file with tools/prepare_nuscenes.py',
            )
        return f'lidarseg/{self.eval_set}/{token}_lidarseg.bin'

    def write_extra_files(self) -> list[str]:
        """``submission.json``: what the method uses."""
        name = f'{self.eval_set}/submission.json'
        with replace_when_complete(self.out_dir / name) as temporary:
            temporary.write_text(json.dumps(dict(meta=self.meta), indent=2))
        return [name]
