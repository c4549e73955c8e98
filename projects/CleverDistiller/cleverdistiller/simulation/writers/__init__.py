"""One writer a format; imported when asked for, because Waymo's needs TensorFlow."""

from importlib import import_module

from cleverdistiller.simulation.writers.writer import Writer

_WRITERS = {
    'nuscenes': ('nuscenes_writer', 'NuScenesWriter'),
    'kitti': ('kitti_writer', 'KittiWriter'),
    'semantickitti': ('semantickitti_writer', 'SemanticKittiWriter'),
    'waymo': ('waymo_writer', 'WaymoWriter'),
    'images': ('image_writer', 'ImageWriter'),
}
FORMATS = tuple(_WRITERS)


def writer_class(name: str) -> type[Writer]:
    """The writer of one of ``FORMATS``."""
    module, cls = _WRITERS[name]
    return getattr(import_module(f'{__name__}.{module}'), cls)


__all__ = ['FORMATS', 'Writer', 'writer_class']
