"""The readers on real frames where they are at hand, and on made-up ones in each format."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleverdistiller.datasets.label_set import NUSCENES, SEMANTIC_KITTI
from cleverdistiller.errors import InputError
from cleverdistiller.visualization.box_corners import box_corners
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.readers import FORMATS, detect_format, read_frame
from conftest import REAL_DATA, REPO
from nuscenes_root import write_nuscenes_root


def inside(view: FrameView, box: int) -> np.ndarray:
    """(N,) whether points lie in a box, by the box's own faces."""
    corners = box_corners(view.boxes_lidar_m)[box]
    middle = corners.mean(0)
    axes = np.stack([corners[0] - corners[4], corners[0] - corners[1], corners[3] - corners[0]])  # (3, 3)
    along = (view.points_lidar_m - middle) @ (axes / (axes**2).sum(1, keepdims=True)).T
    return (np.abs(along) <= 0.5).all(1)


def write_kitti_frame(root: Path, number: str, part: str = 'training') -> Path:
    """A level sensor 1.7 m up, a camera at its place; one car 12 m ahead, 3 m to the left, that looks left."""
    folder = root / part
    for name in ('velodyne', 'calib', 'image_2', 'label_2'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    car = np.random.default_rng(int(number)).uniform((11.2, 1.2, -1.6), (12.8, 4.8, -0.2), (50, 3))
    points = np.concatenate([car, [[30, 0, -1.7], [-5, 2, -1.7]]])
    np.concatenate([points, np.zeros((52, 1))], 1).astype(np.float32).tofile(folder / f'velodyne/{number}.bin')
    p2 = '100 0 80 -50 0 100 45 20 0 0 1 0.1'  # a camera shifted against camera 0
    (folder / f'calib/{number}.txt').write_text(
        f'P2: {p2}\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n'
        'Tr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n\n'
    )
    Image.new('RGB', (160, 90), 'navy').save(folder / f'image_2/{number}.png')
    # In the camera's frame: x right, y down, z ahead; a turn of pi looks to the left.
    car, region = (
        'Car 0 0 0 0 0 1 1 1.5 1.7 4 -3 1.7 12 3.14159265',
        'DontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10',
    )
    if part == 'training':
        (folder / f'label_2/{number}.txt').write_text(f'{car}\n{region}\n')
    return root


def test_kitti_boxes_hold_their_points_and_head_where_the_file_says(tmp_path):
    view = read_frame(write_kitti_frame(tmp_path, '000007'), 0)
    np.testing.assert_allclose(view.boxes_lidar_m, [[12, 3, -0.95, 4, 1.7, 1.5, np.pi / 2]], atol=1e-6)
    assert view.box_names == ('Car',) and inside(view, 0).tolist() == [True] * 50 + [False] * 2
    assert view.labels is None and not view.simulated and '000007' in view.title


def test_kitti_projects_as_its_own_matrices_do(tmp_path):
    view = read_frame(write_kitti_frame(tmp_path, '000000'), 0)
    (camera,) = view.camera_rows[0]
    point = np.array([12.0, 3, -1, 1])
    u, v, depth = np.array([[100, 0, 80, -50], [0, 100, 45, 20], [0, 0, 1, 0.1]]) @ [-3, 1, 12, 1]
    found = camera.cam2img @ (camera.lidar2cam @ point)[:3]
    np.testing.assert_allclose(found, [u, v, depth], rtol=1e-9)


def test_kitti_counts_training_then_testing_without_boxes(tmp_path):
    for number, part in (('000003', 'training'), ('000001', 'training'), ('000000', 'testing')):
        write_kitti_frame(tmp_path, number, part)
    titles = [read_frame(tmp_path, index).title for index in range(3)]
    assert [title.split()[-1] for title in titles] == ['000001', '000003', '000000'] and 'testing' in titles[2]
    assert read_frame(tmp_path, 2).box_names == ()


def write_semantickitti(root: Path) -> Path:
    kitti = write_kitti_frame(root / 'kitti', '000000') / 'training'
    for sequence in ('08', '11'):
        folder = root / 'sequences' / sequence
        (folder / 'velodyne').mkdir(parents=True)
        shutil.copy(kitti / 'velodyne/000000.bin', folder / 'velodyne')
    (root / 'sequences/08/labels').mkdir()
    raw = np.array([40, 60, 252, 10, 99, 0, *[70] * 46], np.uint32) | 5 << 16  # all of instance 5
    raw.tofile(root / 'sequences/08/labels/000000.label')
    shutil.copytree(kitti / 'image_2', root / 'sequences/08/image_2')
    shutil.copy(kitti / 'calib/000000.txt', root / 'sequences/08/calib.txt')
    shutil.rmtree(root / 'kitti')
    return root


def test_semantickitti_labels_lose_their_instance_and_their_motion(tmp_path):
    view = read_frame(write_semantickitti(tmp_path), 0)
    counts = view.points_per_class()
    assert (counts['road'], counts['car'], counts['vegetation'], counts['unlabelled']) == (2, 2, 46, 2)
    assert sum(counts.values()) == 52 and len(view.camera_rows) == 1
    bare = read_frame(tmp_path, 1)  # a test sequence
    assert bare.labels is None and bare.camera_rows == () and 'sequence 11' in bare.title


def test_nuscenes_keyframe_with_lidarseg(tmp_path):
    root = write_nuscenes_root(tmp_path, lidarseg=True)
    view = read_frame(root, 1)
    assert [[camera.name for camera in row] for row in view.camera_rows] == [
        ['CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'],
        ['CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT'],
    ]
    assert view.points_per_class()['unlabelled'] == len(view.points_lidar_m)  # the masks are all 'animal'
    np.testing.assert_allclose(view.ahead_yaw, np.pi / 2, atol=0.05)  # the sensor's y looks ahead
    assert 'scene-0061' in view.title and 'scene-0103' in read_frame(root, 2).title
    next((root / 'lidarseg').glob('*/*.bin')).unlink()
    with pytest.raises(InputError, match='lidarseg'):
        read_frame(root, 0)


def test_the_real_nuscenes_keyframe(keyframe_dir, keyframe_info):
    view = read_frame(keyframe_dir, 0)
    assert detect_format(keyframe_dir) == 'info' and len(view.points_lidar_m) == 34_688 and len(view.box_names) == 69
    lidar2ego, ego2global = keyframe_info['lidar_points']['lidar2ego'], keyframe_info['ego2global']
    lidar2global = (np.array(ego2global) @ lidar2ego)[:3, :3]
    for box, instance in enumerate(keyframe_info['instances']):
        # Boxes stand upright in the world; the sensor is tilted by 1.4 degrees, which moves a few points out of seven
        # numbers' box. Turned back into the world, each box holds exactly the points that nuScenes counted.
        heading = lidar2global @ [np.cos(view.boxes_lidar_m[box, 6]), np.sin(view.boxes_lidar_m[box, 6]), 0]
        upright = np.array([[*heading[:2], 0], [-heading[1], heading[0], 0], [0, 0, 1]])
        upright[:2] /= np.linalg.norm(heading[:2])
        local = (view.points_lidar_m - view.boxes_lidar_m[box, :3]) @ lidar2global.T @ upright.T
        counted = (np.abs(local) <= view.boxes_lidar_m[box, 3:6] / 2).all(1).sum()
        assert counted == instance['num_lidar_pts'], box
        assert abs(inside(view, box).sum() - counted) <= 1 + 0.1 * counted, box


def test_real_kitti_frames():
    root = REAL_DATA / 'kitti_object'
    if not root.is_dir():
        pytest.skip(f'no real KITTI frames in {root}: set CLEVERDISTILLER_REAL_DATA')
    for index in range(3):
        view, lines = read_frame(root, index), (root / f'training/label_2/{index:06}.txt').read_text().splitlines()
        (camera,) = view.camera_rows[0]
        for box, line in enumerate(line.split() for line in lines if not line.startswith('DontCare')):
            corners = box_corners(view.boxes_lidar_m)[box] @ camera.lidar2cam[:3, :3].T + camera.lidar2cam[:3, 3]
            u, v, depth = camera.cam2img @ corners.T
            height, width = camera.rgb.shape[:2]
            found = np.clip([*(u / depth, v / depth)], 0, [[width - 1], [height - 1]])
            told = np.array(line[4:8], float)  # annotated apart from the box, so only roughly its projection
            assert view.box_names[box] == line[0] and inside(view, box).sum() > 3
            np.testing.assert_allclose([*found.min(1), *found.max(1)], told, atol=12)


def test_simulated_roots_are_told_from_real_ones(tmp_path):
    root = write_kitti_frame(tmp_path, '000000')
    assert not read_frame(root, 0).simulated
    (root / 'simulation.json').write_text(json.dumps(dict(seed=0)))
    assert read_frame(root, 0).simulated


@pytest.mark.parametrize(
    'said,arguments',
    [
        ('0 to 0', dict(index=1)),
        ('0 to 0', dict(index=-1)),
        ('format', dict(index=0, format='argoverse')),
        ('semantickitti root', dict(index=0, format='semantickitti')),
        ('nuscenes only', dict(index=0, version='v1.0-mini')),
    ],
)
def test_wrong_arguments_are_refused_with_a_remedy(tmp_path, said, arguments):
    with pytest.raises(InputError, match=said) as refused:
        read_frame(write_kitti_frame(tmp_path, '000000'), **arguments)
    assert 'remedy' in str(refused.value)


def test_missing_and_damaged_files_are_named(tmp_path):
    root = write_kitti_frame(tmp_path, '000000')
    sweep, label = root / 'training/velodyne/000000.bin', root / 'training/label_2/000000.txt'
    sweep.write_bytes(sweep.read_bytes()[:-1])
    with pytest.raises(InputError, match='of 831 bytes'):
        read_frame(root, 0)
    calibration = root / 'training/calib/000000.txt'
    calibration.write_text(calibration.read_text().replace('R0_rect', 'R1'))
    with pytest.raises(InputError, match='without R0_rect'):
        read_frame(root, 0)
    calibration.write_text('P2: 1 2 3\n')
    with pytest.raises(InputError, match='P2: 1 2 3'):
        read_frame(root, 0)
    calibration.unlink()
    write_kitti_frame(tmp_path, '000000')
    label.unlink()
    with pytest.raises(InputError, match='label_2'):
        read_frame(root, 0)


def test_a_folder_of_no_format_is_told_what_each_looks_like(tmp_path):
    with pytest.raises(InputError) as refused:
        read_frame(tmp_path, 0)
    assert all(name in str(refused.value) for name in FORMATS)
    with pytest.raises(InputError, match='does not exist'):
        read_frame(tmp_path / 'nowhere', 0)


@pytest.mark.parametrize('labels', [NUSCENES, SEMANTIC_KITTI], ids=['nuscenes', 'semantickitti'])
def test_raw_ids_are_decoded_as_a_search_would(labels):
    raw = np.arange(300)
    for number, label in zip(raw, labels.decode(raw, unlabelled=-1)):
        owners = [name for name, ids in labels.raw_ids.items() if number in ids]
        assert (labels.names[label] if label >= 0 else None) == (owners[0] if owners else None) and len(owners) < 2


def test_only_its_own_reader_imports_a_formats_library():
    folder = REPO / 'projects/CleverDistiller/cleverdistiller/visualization'
    users = dict(tensorflow=set(), waymo_open_dataset=set(), nuscenes=set(), readers=set())
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, 'module', None)]
            )
            for name in filter(None, names):
                users.setdefault(name.split('.')[0], set()).add(path.name)
                if name.rpartition('.')[2] in FORMATS and name.startswith('cleverdistiller'):
                    users['readers'].add(path.name)
    assert users['waymo_open_dataset'] == {'waymo.py'} and users['nuscenes'] == {'nuscenes.py'}
    assert users['readers'] <= {f'{name}.py' for name in FORMATS}  # all others load a reader by its name, when asked
