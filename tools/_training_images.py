"""The camera images of a config's training set."""

from mmdet3d.registry import DATASETS
from mmengine.config import Config


def images_of(cfg: Config) -> list[str]:
    """Paths of all camera images of a config's training set, each once."""
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    frames = (dataset.get_data_info(row)['images'] for row in range(len(dataset)))
    return list(dict.fromkeys(camera['img_path'] for images in frames for camera in images.values()))
