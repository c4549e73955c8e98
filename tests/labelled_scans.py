"""Made-up scans with labels, laid out as a config's loader and dataset expect them."""

import pickle
from pathlib import Path

import numpy as np
from mmdet3d.registry import DATASETS


def write_labelled_scans(root: Path, config: dict, count: int, points: int = 300) -> None:
    """Write scans ``00/0`` to ``00/count-1`` with every raw id that the dataset scores, and the info file.

    Classes are layers, one above the other, so that a backbone can tell them apart by height.

    Args:
        root (Path): The data root.
        config (dict): Of the dataset, from a config: its type, loader, folders and info file are followed.
        count (int): Scans.
        points (int): In each.
    """
    labels = DATASETS.get(config['type']).labels
    prefix, load_dim = config.get('data_prefix', {}), config['pipeline'][0]['load_dim']
    records = []
    for frame in range(count):
        rng = np.random.default_rng(frame)
        scan, mask = f'00/points/{frame}.bin', f'00/labels/{frame}.label'
        cloud = rng.uniform(-10, 10, (points, load_dim)).astype(np.float32)
        ids = rng.choice([0, *labels.first_raw_ids], points).astype(labels.dtype)
        cloud[:, 2] = labels.decode(ids) - 5
        cloud[:, 3] = rng.uniform(0, 1, points)
        for key, name, values in (('pts', scan, cloud), ('pts_semantic_mask', mask, ids)):
            path = root / prefix.get(key, '') / name
            path.parent.mkdir(parents=True, exist_ok=True)
            values.tofile(path)
        lidar = dict(lidar_path=scan, num_pts_feats=load_dim, sample_data_token=f'sweep{frame}')
        records.append(
            dict(token=str(frame), scene_name='00', scene_row=0, lidar_points=lidar, pts_semantic_mask_path=mask)
        )
    content = dict(metainfo=dict(dataset='made-up', info_version='1.1'), data_list=records)
    (root / config['ann_file']).write_bytes(pickle.dumps(content))
