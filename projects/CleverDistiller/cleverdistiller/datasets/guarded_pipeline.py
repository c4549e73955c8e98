from mmdet3d.datasets.transforms import PointSample
from mmengine.dataset.base_dataset import Compose

from cleverdistiller.errors import InputError


class GuardedPipeline(Compose):
    """A dataset's transforms, which know what to do with a frame that they leave without points.

    To train on it is an error that names the frame and the step, range included. To predict for it is not: steps that
    sample points are left out, for they cannot draw from nothing, and the model gets an empty cloud.

    Args:
        transforms (Sequence): See mmengine's ``Compose``.
        test_mode (bool): Whether frames are predicted.
    """

    def __init__(self, transforms, test_mode: bool) -> None:
        super().__init__(transforms)
        self.test_mode = test_mode

    def __call__(self, data: dict) -> dict | None:
        """Apply the transforms.

        Args:
            data (dict): What the dataset knows of a frame.

        Returns:
            dict | None: The sample; None if a transform gives the frame up.

        Raises:
            InputError: If a frame to train on is left without points.
        """
        for step in self.transforms:
            if self.test_mode and isinstance(step, PointSample) and not len(data['points']):
                continue
            data = step(data)
            if data is None:
                return None
            if not self.test_mode and 'points' in data and not len(data['points']):
                raise InputError(
                    f'the frame {_name(data)}, none of whose points is left after {step}',
                    'points to train on',
                    'leave the frame out, or correct the range: is the sensor the origin, are coordinates metres?',
                )
        return data


def _name(data: dict) -> str:
    path = data.get('lidar_path') or data.get('lidar_points', {}).get('lidar_path')
    frame = data.get('frame_id') or data.get('token')
    return f'{frame} ({path})' if frame and path else str(frame or path)
