from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.datasets.transforms._cameras import camera_keys, draw_cameras
from cleverdistiller.datasets.transforms.load_camera_images import LoadCameraImages
from cleverdistiller.errors import InputError
from cleverdistiller.structures import rows_and_columns
from cleverdistiller.teacher_cache import TeacherCache


@TRANSFORMS.register_module()
class LoadTeacherFeatures(BaseTransform):
    """Load what the teacher said of the cameras' images, in the place of :class:`LoadCameraImages`.

    No image is decoded. Draws the same cameras at random, so that training sees what it would see without a cache.
    See :class:`TeacherCache` for what is checked; ``tools/cache_teacher.py`` makes the cache.

    Required Keys:

    - images (dict): camera -> ``img_path``, ``cam2img``, ``lidar2cam``

    Added Keys:

    - teacher_features (TeacherFeatures): of V images, float16
    - cam2img, lidar2cam, native_size_hw, input_size_hw, img_hflip, camera_names: as :class:`LoadCameraImages` does

    Args:
        cache (str): Folder of the cache.
        data_root (str): What the images of the cache are relative to: the dataset's.
        size_hw (tuple[int, int]): Rows and columns of the teacher's input.
        num_cams (int | None): Draw so many cameras at random; None takes all.
        hflip_prob (float): Must be 0: features of a mirrored image are not the mirrored features.

    Raises:
        InputError: If the cache is missing, incomplete or of images that were loaded otherwise, images are to be
            mirrored, or (while loading) an image or a shard has changed.
    """

    def __init__(
        self,
        cache: str,
        data_root: str = '',
        size_hw: tuple[int, int] = (224, 448),
        num_cams: int | None = None,
        hflip_prob: float = 0.0,
    ) -> None:
        if hflip_prob > 0:
            raise InputError(
                f'hflip_prob={hflip_prob} with cached teacher features',
                'images that are never mirrored',
                'set LoadCameraImages.hflip_prob=0, or train without the cache',
            )
        self.size_hw = rows_and_columns(size_hw, 'size_hw')
        self.cache = TeacherCache(cache, data_root)
        have, want = self.cache.record.preprocessing, LoadCameraImages.preprocessing(self.size_hw)
        if have != want:
            raise InputError(
                f'{cache}, whose images were loaded with {have}',
                str(want),
                'run tools/cache_teacher.py with this config, into another folder',
            )
        self.num_cams = num_cams

    def transform(self, results: dict) -> dict:
        records = results['images']
        cameras, flips = draw_cameras(list(records), self.num_cams, hflip_prob=0.0)
        results['teacher_features'], sizes = self.cache.load([records[camera]['img_path'] for camera in cameras])
        results.update(camera_keys(records, cameras, flips, sizes, self.size_hw))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(cache={str(self.cache.folder)!r}, data_root={self.cache.data_root!r}, '
            f'size_hw={self.size_hw}, num_cams={self.num_cams})'
        )
