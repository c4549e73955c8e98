"""Teacher's and students' features on one frame, in one space."""

from dataclasses import dataclass

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.camera_view import CameraView
from cleverdistiller.visualization.frame_view import FrameView


@dataclass(frozen=True)
class ProjectedStudent:
    """A student's features, brought to the teacher's space by its projection head.

    Args:
        name (str): What a sheet calls it.
        point_features (np.ndarray): (N, D) float32 unit vectors, a row for each point of the frame.
    """

    name: str
    point_features: np.ndarray


@dataclass(frozen=True)
class DistilledFrame:
    """One frame as its teacher and one or more students see it; all features are unit vectors, as in Eq. 1.

    Args:
        view (FrameView): The frame, its V cameras in the order of ``image_index``.
        teacher (str): Model and weights of the teacher.
        patch_features (np.ndarray): (V, h, w, D) float32, the teacher's of each patch.
        point_index (np.ndarray): (P,) point of each point-pixel pair.
        image_index (np.ndarray): (P,) its camera.
        uv_px (np.ndarray): (P, 2) its column and row in pixels of the camera's own picture.
        pixel_features (np.ndarray): (P, D) float32, the teacher's at that pixel.
        students (tuple[ProjectedStudent, ...]): At least one.

    Raises:
        InputError: If the arrays do not fit together.
    """

    view: FrameView
    teacher: str
    patch_features: np.ndarray
    point_index: np.ndarray
    image_index: np.ndarray
    uv_px: np.ndarray
    pixel_features: np.ndarray
    students: tuple[ProjectedStudent, ...]

    def __post_init__(self) -> None:
        width_d, pairs = self.patch_features.shape[-1], len(self.point_index)
        expected = dict(
            patch_features=(len(self.cameras), *self.patch_features.shape[1:3], width_d),
            image_index=(pairs,),
            uv_px=(pairs, 2),
            pixel_features=(pairs, width_d),
        )
        found = {name: getattr(self, name).shape for name in expected}
        for student in self.students:
            found[student.name] = student.point_features.shape
            expected[student.name] = (len(self.view.points_lidar_m), width_d)
        if found != expected:
            raise InputError(f'{self.view.title}: {found}', f'{expected}', 'take all features of one frame')

    @property
    def cameras(self) -> tuple[CameraView, ...]:
        """The V cameras, row after row."""
        return tuple(camera for row in self.view.camera_rows for camera in row)

    def camera_index(self, name: str) -> int:
        """Row of a camera.

        Raises:
            InputError: If the frame has no such camera.
        """
        names = [camera.name for camera in self.cameras]
        if name not in names:
            raise InputError(f'camera {name!r}', f'one of {", ".join(names)}', 'choose one of them')
        return names.index(name)

    def agreement(self, student: ProjectedStudent) -> float:
        """Mean cosine of the student's and the teacher's feature over all pairs."""
        return float((student.point_features[self.point_index] * self.pixel_features).sum(1).mean())

    def constant_agreement(self) -> float:
        """The highest mean cosine that one vector for all points could reach: what a student must beat."""
        return float(np.linalg.norm(self.pixel_features.mean(0)))  # mean of a . m over unit m, at m along the mean
