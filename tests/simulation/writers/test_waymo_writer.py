"""Records are read back with Waymo's own code and compared with what was simulated."""

import pytest

pytest.importorskip('waymo_open_dataset')

import io
from dataclasses import replace

import numpy as np
import tensorflow as tf
from PIL import Image
from waymo_open_dataset.dataset_pb2 import CameraName, Frame
from waymo_open_dataset.label_pb2 import Label
from waymo_open_dataset.protos.segmentation_pb2 import Segmentation
from waymo_open_dataset.utils import frame_utils

from cleverdistiller.errors import InputError
from cleverdistiller.simulation.frame import CameraImage, LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import WAYMO
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.waymo_writer import SCENES_APART_S, START_S, WaymoWriter

LIDAR = WAYMO.lidar
FRAME_S = 1.0
CAR, RIDER, BICYCLE, FAR_CAR, CLOSE_BUS = 1, 2, 3, 4, 5
PAINTED = {CAR: (600, 700, 800, 1000), RIDER: (500, 640, 1200, 1230)}  # first and last rows, columns in FRONT


class Drive:
    """Forward at 12 m/s and up at 1, turning left at 0.5 rad/s, nose and left side lifted a little."""

    speed_mps, turn_rate = np.array([12.0, 0.0, 1.0]), 0.5

    def ego2world(self, times_s):
        pose = np.tile(np.eye(4), (len(times_s), 1, 1))
        for matrix, time_s in zip(pose, times_s):
            (cy, sy), (cp, sp), (cr, sr) = [
                (np.cos(a), np.sin(a)) for a in (0.3 + self.turn_rate * time_s, -0.05, 0.03)
            ]
            turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
            pitch, roll = (
                np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]),
                np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]]),
            )
            matrix[:3, :3], matrix[:3, 3] = turn @ pitch @ roll, [400, 300, 5] + self.speed_mps * time_s
        return pose


def moved(points, matrix):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def state(instance, surface, ahead_left_up_m, size, turn=0.0, velocity=(0, 0, 0)):
    """Placed in the vehicle's frame at the frame's time."""
    ego2world = Drive().ego2world([FRAME_S])[0]
    yaw = np.arctan2(ego2world[1, 0], ego2world[0, 0]) + turn
    centre = moved(np.array(ahead_left_up_m, float), ego2world)
    return ObjectState(FRAME_S, instance, surface, centre, np.array(size), yaw, np.array(velocity, float), False)


OBJECTS = (
    state(CAR, SurfaceClass.CAR, (14, 1, 0.9), (4.5, 1.9, 1.6), turn=3.0, velocity=(-6, 2, 0)),
    state(RIDER, SurfaceClass.BICYCLIST, (20, -4, 1.0), (1.8, 0.8, 1.8)),
    state(BICYCLE, SurfaceClass.BICYCLE, (15, 4, 0.6), (1.8, 0.8, 1.8)),
    state(FAR_CAR, SurfaceClass.CAR, (80, 0, 0.9), (30, 8, 8)),  # reaches into the 75 m, its middle does not
    state(CLOSE_BUS, SurfaceClass.BUS, (3, 3.5, 1.7), (12, 2.6, 3.2)),  # beside the cameras, before and behind them
)


def inside(state, points_world_m):
    offset = points_world_m - state.centre_world_m
    ahead = np.array([np.cos(state.yaw_world), np.sin(state.yaw_world), 0])
    left = np.array([-ahead[1], ahead[0], 0])
    return (np.abs(offset @ np.stack([ahead, left, [0, 0, 1]], 1)) < state.size_lwh_m / 2).all(1)


def make_scan(rng):
    """Random ranges along exact rays of a third of the columns; a tenth of the rays return twice."""
    column, ring = (grid.ravel() for grid in np.meshgrid(np.arange(0, LIDAR.columns, 3), np.arange(64), indexing='ij'))
    again = rng.random(len(column)) < 0.1
    echo = np.repeat([0, 1], [len(column), again.sum()])
    first_m = rng.uniform(2, 40, len(column))
    column, ring = (np.concatenate([values, values[again]]) for values in (column, ring))
    range_m = np.concatenate([first_m, first_m[again] + rng.uniform(1, 30, again.sum())])
    azimuth, elevation = LIDAR.azimuths()[column], LIDAR.elevations[ring]
    ray = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], 1)
    points_ego_m = moved(ray * range_m[:, None], LIDAR.lidar2ego)
    fired2world = Drive().ego2world(FRAME_S + LIDAR.delays_s())[column]  # (N, 4, 4)
    points_world_m = np.einsum('nij,nj->ni', fired2world[:, :3, :3], points_ego_m) + fired2world[:, :3, 3]
    ego2world = Drive().ego2world([FRAME_S])[0]
    instance = np.zeros(len(column), np.uint16)
    for thing in OBJECTS:
        instance[inside(thing, points_world_m)] = thing.instance
    rider = np.flatnonzero(instance == RIDER)
    keep = np.ones(len(column), bool)
    keep[rider[3:]] = False  # three points: a hard label
    sweep = LidarScan(
        time_s=FRAME_S,
        ego2world=ego2world,
        points_lidar_m=moved(points_world_m, np.linalg.inv(ego2world @ LIDAR.lidar2ego)).astype(np.float32),
        intensity=rng.uniform(0, 1, len(column)).astype(np.float32),
        ring=ring.astype(np.uint8),
        column=column.astype(np.uint16),
        fired_s=LIDAR.delays_s()[column].astype(np.float32),
        range_m=range_m.astype(np.float32),
        surface=rng.integers(1, len(SurfaceClass), len(column)).astype(np.uint8),
        instance=instance,
        echo=echo.astype(np.uint8),
    )
    arrays = {name: value[keep] for name, value in vars(sweep).items() if len(np.shape(value)) and name != 'ego2world'}
    return replace(sweep, **arrays)


def make_images():
    images = {}
    for camera in WAYMO.cameras:
        time_s = FRAME_S + camera.delay_s
        instance = np.zeros(camera.size_hw, np.uint16)
        visible_px = {}
        if camera.name == 'FRONT':
            for thing, (top, bottom, left, right) in PAINTED.items():
                instance[top : bottom + 1, left : right + 1] = thing
                visible_px[thing] = (int((instance == thing).sum()), 10**6)
        surface = np.zeros(camera.size_hw, np.uint8)
        rgb = np.full((*camera.size_hw, 3), 90, np.uint8)
        depth = np.full(camera.size_hw, np.inf, np.float32)
        ego2world = Drive().ego2world([time_s])[0]
        images[camera.name] = CameraImage(time_s, ego2world, rgb, depth, surface, instance, visible_px)
    return images


def read_back(path):
    [raw] = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return Frame.FromString(raw)


@pytest.fixture(scope='module')
def truth():
    return SimulatedFrame(0, 0, FRAME_S, make_scan(np.random.default_rng(0)), make_images(), OBJECTS, ())


@pytest.fixture(scope='module')
def writer(truth, tmp_path_factory):
    writer = WaymoWriter(tmp_path_factory.mktemp('waymo'), scenes=2, frames=1, seed=7)
    records = [[writer.write_frame(replace(truth, scene=scene), Drive())] for scene in range(2)]
    writer.finish(records)
    return writer


@pytest.fixture(scope='module')
def record(writer):
    return read_back(writer.record_file(0))


@pytest.fixture(scope='module')
def parsed(record):
    return parse(record)


def parse(record):
    with pytest.MonkeyPatch.context() as patch:
        # Waymo's reader hands over a bytearray, which today's protobuf refuses.
        patch.setattr(frame_utils, 'bytearray', bytes, raising=False)
        return frame_utils.parse_range_image_and_camera_projection(record)


def pixels_of(sweep, echo):
    """(row, column) of the points of one return, in the order in which Waymo's code lists them."""
    index = np.flatnonzero(sweep.echo == echo)
    row = 63 - sweep.ring[index].astype(int)
    return index[np.lexsort([sweep.column[index], row])]


def read_points(record, parsed, echo):
    ranges, projections, _, pose = parsed
    [points_m], _ = frame_utils.convert_range_image_to_point_cloud(record, ranges, projections, pose, echo)
    return points_m


@pytest.mark.parametrize('echo', [0, 1])
def test_waymos_code_finds_the_points(truth, record, parsed, echo):
    points_m = read_points(record, parsed, echo)
    expected_m = moved(truth.scan.points_lidar_m[pixels_of(truth.scan, echo)], LIDAR.lidar2ego)
    assert points_m.shape == expected_m.shape
    assert np.abs(points_m - expected_m).max() < 0.002


def test_waymos_code_finds_the_points_of_a_simulated_sweep(truth, tmp_path):
    scene = Scene(seed=7, index=0, duration_s=0.2)
    sweep = scan(scene, LIDAR, FRAME_S)
    frame = replace(truth, scan=sweep, objects=tuple(scene.objects_at(FRAME_S)))
    WaymoWriter(tmp_path, scenes=1, frames=1, seed=7).write_frame(frame, scene)
    record = Frame.FromString(next(tmp_path.rglob('*.frame')).read_bytes())
    parsed = parse(record)
    for echo in (0, 1):
        expected_m = moved(sweep.points_lidar_m[pixels_of(sweep, echo)], LIDAR.lidar2ego)
        assert len(expected_m) > 1000
        assert np.abs(read_points(record, parsed, echo) - expected_m).max() < 0.002


@pytest.mark.parametrize('echo', [0, 1])
def test_features_of_a_pixel(truth, parsed, echo):
    image = np.array(parsed[0][1][echo].data).reshape(parsed[0][1][echo].shape.dims)
    assert image.shape == (64, 2650, 4)
    met = image[..., 0] > 0
    index = pixels_of(truth.scan, echo)
    assert np.allclose(image[met][:, 0], truth.scan.range_m[index])
    assert np.allclose(np.tanh(image[met][:, 1]), truth.scan.intensity[index], atol=2e-4)
    assert (image[met][:, 2] == 0).all() and (image[met][:, 3] == -1).all()
    assert (image[~met] == -1).all()


@pytest.mark.parametrize('echo', [0, 1])
def test_segmentation_is_the_truth(truth, parsed, echo):
    ranges, _, segmentation, _ = parsed
    met = np.array(ranges[1][echo].data).reshape(64, 2650, 4)[..., 0] > 0
    labels = np.array(segmentation[1][echo].data).reshape(64, 2650, 2)
    index = pixels_of(truth.scan, echo)
    assert (labels[met][:, 0] == truth.scan.instance[index]).all()
    surface = truth.scan.surface[index]
    for kind, name in {
        SurfaceClass.ROAD: 'TYPE_ROAD',
        SurfaceClass.PARKING: 'TYPE_ROAD',
        SurfaceClass.FENCE: 'TYPE_BUILDING',
        SurfaceClass.TRAILER: 'TYPE_OTHER_VEHICLE',
        SurfaceClass.BICYCLIST: 'TYPE_BICYCLIST',
        SurfaceClass.BARRIER: 'TYPE_UNDEFINED',
        SurfaceClass.TRUNK: 'TYPE_TREE_TRUNK',
    }.items():
        assert set(labels[met][surface == kind, 1]) == {Segmentation.Type.Value(name)}
    assert (labels[~met] == 0).all()


def test_every_fifth_frame_has_segmentation(truth, tmp_path):
    writer = WaymoWriter(tmp_path, scenes=1, frames=1, seed=7)
    sizes = {}
    for index in (4, 5):
        writer.write_frame(replace(truth, index=index), Drive())
        [part] = tmp_path.rglob(f'{index:06d}.frame')
        laser = Frame.FromString(part.read_bytes()).lasers[0]
        sizes[index] = [len(image.segmentation_label_compressed) for image in (laser.ri_return1, laser.ri_return2)]
    assert sizes[4] == [0, 0] and min(sizes[5]) > 0


def test_projections_follow_from_the_written_calibration(truth, record, parsed):
    """Slow twin: one point at a time, from what a reader has: Waymo's axes, poses and intrinsics."""
    index = pixels_of(truth.scan, 0)
    met = np.array(parsed[0][1][0].data).reshape(64, 2650, 4)[..., 0] > 0
    projections = np.array(parsed[1][1][0].data).reshape(64, 2650, 6)
    points_world_m = moved(moved(truth.scan.points_lidar_m[index], LIDAR.lidar2ego), truth.scan.ego2world)
    poses = {image.name: np.reshape(image.pose.transform, (4, 4)) for image in record.images}
    twice = 0
    for point, found in list(zip(points_world_m, projections[met]))[::40]:
        expected = []
        for camera in sorted(record.context.camera_calibrations, key=lambda camera: camera.name):
            vehicle = np.linalg.inv(poses[camera.name]) @ [*point, 1]
            x, y, z, _ = np.linalg.inv(np.reshape(camera.extrinsic.transform, (4, 4))) @ vehicle
            fu, fv, cu, cv, *distortion = camera.intrinsic
            assert distortion == [0] * 5
            u, v = cu - fu * y / x, cv - fv * z / x
            if x > 0 and 0 <= u < camera.width and 0 <= v < camera.height:
                expected += [camera.name, int(u), int(v)]
        assert found.tolist() == (expected + [0] * 6)[:6]
        twice += len(expected) > 3
    assert twice > 0
    assert (projections[~met] == 0).all()


def test_boxes_and_their_points(truth, record, parsed):
    names = [f'simulated-7-0-{instance}' for instance in (CAR, RIDER, CLOSE_BUS)]
    assert [label.id for label in record.laser_labels] == names  # no bicycle, nothing far away
    kinds = [Label.TYPE_VEHICLE, Label.TYPE_CYCLIST, Label.TYPE_VEHICLE]
    assert [label.type for label in record.laser_labels] == kinds
    pose = np.reshape(record.pose.transform, (4, 4))
    points = np.concatenate([read_points(record, parsed, echo) for echo in (0, 1)])
    states = {state.instance: state for state in OBJECTS}
    for label, instance in zip(record.laser_labels, (CAR, RIDER, CLOSE_BUS)):
        box, thing = label.box, states[instance]
        centre = np.array([box.center_x, box.center_y, box.center_z])
        assert np.allclose(moved(centre, pose), thing.centre_world_m)
        assert np.allclose([box.length, box.width, box.height], thing.size_lwh_m)
        ahead = pose[:3, :3] @ [np.cos(box.heading), np.sin(box.heading), 0]
        assert abs(ahead @ [-np.sin(thing.yaw_world), np.cos(thing.yaw_world), 0]) < 0.005  # the car is tilted
        assert ahead @ [np.cos(thing.yaw_world), np.sin(thing.yaw_world), 0] > 0.99
        offset = points - centre
        turn = np.array([[np.cos(box.heading), -np.sin(box.heading)], [np.sin(box.heading), np.cos(box.heading)]])
        offset[:, :2] = offset[:, :2] @ turn
        count = (np.abs(offset) <= np.array([box.length, box.width, box.height]) / 2).all(1).sum()
        assert count == label.num_lidar_points_in_box == label.num_top_lidar_points_in_box > 0
        assert label.detection_difficulty_level == (Label.LEVEL_2 if count <= 5 else Label.LEVEL_1)
        speed = [label.metadata.speed_x, label.metadata.speed_y, label.metadata.speed_z]
        assert np.allclose(speed, thing.velocity_world_mps)
    assert record.laser_labels[1].detection_difficulty_level == Label.LEVEL_2


def test_camera_synced_box_moves_with_the_object(truth, tmp_path):
    late = replace(truth.images['FRONT'], time_s=FRAME_S + 0.5)
    frame = replace(truth, images={**truth.images, 'FRONT': late})
    writer = WaymoWriter(tmp_path, scenes=1, frames=1, seed=7)
    writer.write_frame(frame, Drive())
    record = Frame.FromString(next(tmp_path.rglob('*.frame')).read_bytes())
    car, _, bus = record.laser_labels
    assert car.most_visible_camera_name == 'FRONT' and not bus.most_visible_camera_name
    synced = np.array([car.camera_synced_box.center_x, car.camera_synced_box.center_y, car.camera_synced_box.center_z])
    pose = np.reshape(record.pose.transform, (4, 4))
    assert np.allclose(moved(synced, pose), OBJECTS[0].centre_world_m + OBJECTS[0].velocity_world_mps * 0.5)


def test_camera_labels_surround_the_visible_pixels(record):
    [front] = [labels for labels in record.camera_labels if labels.name == CameraName.FRONT]
    found = {}
    for label in front.labels:
        left, top = label.box.center_x - label.box.length / 2, label.box.center_y - label.box.width / 2
        found[label.association.laser_object_id] = (top, top + label.box.width - 1, left, left + label.box.length - 1)
    assert found == {f'simulated-7-0-{instance}': extent for instance, extent in PAINTED.items()}
    assert len(record.camera_labels) == 5 and sum(len(labels.labels) for labels in record.camera_labels) == 2


def test_projected_boxes(truth, record):
    boxes = {label.id: label.box for labels in record.projected_lidar_labels for label in labels.labels}
    car, camera, image = OBJECTS[0], WAYMO.cameras[0], truth.images['FRONT']
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = moved(signs * car.size_lwh_m / 2, car.object2world)
    x, y, z = moved(corners, np.linalg.inv(image.ego2world @ camera.cam2ego)).T
    u, v = 2055 * x / z + 940.5, 2055 * y / z + 640.5  # counted from the image's edges
    box = boxes['simulated-7-0-1_FRONT']
    assert np.allclose([box.center_x, box.length], [(u.min() + u.max()) / 2, np.ptp(u)])
    assert np.allclose([box.center_y, box.width], [(v.min() + v.max()) / 2, np.ptp(v)])
    # The bus goes past the side camera's edges, and reaches behind the one at the front.
    bus = boxes['simulated-7-0-5_SIDE_LEFT']
    assert [bus.center_x - bus.length / 2, bus.length] == [0, 1920]
    assert 'simulated-7-0-5_FRONT_LEFT' in boxes and 'simulated-7-0-5_SIDE_RIGHT' not in boxes


def test_images_say_when_and_where(record):
    for image, camera in zip(record.images, WAYMO.cameras):
        assert CameraName.Name.Name(image.name) == camera.name
        assert Image.open(io.BytesIO(image.image)).size == camera.size_hw[::-1]
        assert image.pose_timestamp == pytest.approx(START_S + FRAME_S + camera.delay_s)
        pose = np.reshape(image.pose.transform, (4, 4))
        assert np.allclose(pose, Drive().ego2world([FRAME_S + camera.delay_s])[0])
        velocity = image.velocity
        assert np.allclose([velocity.v_x, velocity.v_y, velocity.v_z], Drive.speed_mps, atol=1e-4)
        assert np.allclose([velocity.w_x, velocity.w_y, velocity.w_z], [0, 0, Drive.turn_rate], atol=1e-4)


def test_scenes_are_told_apart_and_known_as_simulated(writer):
    training, validation = sorted((writer.root / 'training').iterdir()), sorted((writer.root / 'validation').iterdir())
    names = ['0000000007000000000_0_000_0_100', '0000000007000000001_0_000_0_100']
    assert [path.name for path in training + validation] == [
        f'segment-{name}_with_camera_labels.tfrecord' for name in names
    ]
    frames = [read_back(training[0]), read_back(validation[0])]
    assert [frame.context.name for frame in frames] == names
    assert {frame.context.stats.location for frame in frames} == {'location_simulated'}
    first, second = (frame.timestamp_micros for frame in frames)
    assert second - first == SCENES_APART_S * 10**6
    assert first == round((START_S + FRAME_S - 0.05) * 1e6)  # when the turn began
    assert sorted(path.name for path in writer.root.iterdir()) == ['training', 'validation']


@pytest.mark.parametrize('scenes, validation', [(1, 0), (2, 1), (5, 1), (10, 2), (33, 7)])
def test_a_fifth_is_validation(tmp_path, scenes, validation):
    writer = WaymoWriter(tmp_path, scenes=scenes, frames=1, seed=7)
    splits = [writer.record_file(scene).parent.name for scene in range(scenes)]
    assert splits == ['training'] * (scenes - validation) + ['validation'] * validation


def test_a_second_run_writes_the_same_bytes(writer, truth, tmp_path):
    again = WaymoWriter(tmp_path, scenes=2, frames=1, seed=7)
    for scene in (1, 0):
        again.write_frame(replace(truth, scene=scene), Drive())
    again.finish([[{}], [{}]])
    for scene in range(2):
        assert again.record_file(scene).read_bytes() == writer.record_file(scene).read_bytes()


def test_finish_goes_on_after_a_kill(writer, tmp_path):
    killed = WaymoWriter(tmp_path, scenes=2, frames=2, seed=7)
    parts = [
        tmp_path / '.parts' / killed.context_name(scene) / f'{i:06d}.frame' for scene in range(2) for i in range(2)
    ]
    joined = killed.record_file(0)
    for path in (*parts[1:], joined):  # scene 0: joined, and half of its parts removed
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    killed.finish([[{}] * 2] * 2)
    assert joined.read_bytes() == joined.name.encode()
    frames = list(tf.data.TFRecordDataset(str(killed.record_file(1))).as_numpy_iterator())
    assert frames == [b'000000.frame', b'000001.frame']
    assert not (tmp_path / '.parts').exists()


def test_a_missing_frame_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r'000000\.frame'):
        WaymoWriter(tmp_path, scenes=1, frames=1, seed=7).finish([[{}]])


def test_another_cars_frame_is_an_error(truth, tmp_path):
    images = {name: image for name, image in truth.images.items() if name != 'SIDE_LEFT'}
    with pytest.raises(InputError, match='SIDE_LEFT'):
        WaymoWriter(tmp_path, scenes=1, frames=1, seed=7).write_frame(replace(truth, images=images), Drive())
