"""A made-up Waymo detection set, as tools/prepare_waymo.py leaves it."""

import pickle

import numpy as np

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SIZES = np.array([[0.8, 0.6, 1.7], [1.8, 0.6, 1.7], [4.5, 2.0, 1.6]])
SEGMENTS, FRAMES = 3, 10


def write_set(root, with_boxes=True):
    """Thirty frames in three segments, each with a box of each class but every fifth, and a database of them."""
    rng = np.random.default_rng(0)
    records, database = [], {name: [] for name in CLASSES}
    for index in range(SEGMENTS * FRAMES):
        context, micros = f'segment{index // FRAMES}', 1_000_000 + index
        frame_id, path = f'{context}/{micros}', f'training/{context}/points/{micros}.bin'
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        points = rng.uniform((-70, -70, -1, 0, 0), (70, 70, 3, 20, 1), (400, 5)).astype(np.float32)
        points.tofile(root / path)
        instances = []
        for label, name in enumerate(CLASSES if with_boxes and index % 5 else ()):
            box = [*rng.uniform(-50, 50, 2).tolist(), 0.0, *SIZES[label].tolist(), float(rng.uniform(-3, 3))]
            level = 1 + (index + label) % 2
            instances.append(dict(bbox_3d=box, bbox_label_3d=label, num_lidar_pts=9, difficulty=level, track_id=name))
            own = f'gt_database/{context}/{micros}_{name}_{label}.bin'
            (root / own).parent.mkdir(parents=True, exist_ok=True)
            rng.uniform((-0.3, -0.3, 0, 0, 0), 0.3, (9, 5)).astype(np.float32).tofile(root / own)
            database[name].append(
                dict(
                    name=name,
                    path=own,
                    image_idx=frame_id,
                    gt_idx=label,
                    box3d_lidar=np.array(box, np.float32),
                    num_points_in_gt=9,
                    difficulty=level,
                    group_id=index,
                )
            )
        files = dict(lidar_points=dict(lidar_path=path, num_pts_feats=5))
        names = dict(frame_id=frame_id, context_name=context, timestamp=micros)
        records.append(dict(sample_idx=index, instances=instances, **names, **files))
    metainfo = dict(dataset='waymo_detection', info_version='1.1', categories={n: i for i, n in enumerate(CLASSES)})
    (root / 'waymo_infos_train.pkl').write_bytes(pickle.dumps(dict(metainfo=metainfo, data_list=records)))
    (root / 'waymo_dbinfos_train.pkl').write_bytes(pickle.dumps(database))
    return records
