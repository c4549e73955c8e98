"""The seven tables against tables that were typed from the datasets' own definitions, apart from the code."""

from types import SimpleNamespace

import numpy as np
import pytest

from cleverdistiller.datasets import label_set
from cleverdistiller.datasets.label_set import NUSCENES, SEMANTIC_KITTI, LabelSet

KITTI_NAMES = (
    'car bicycle motorcycle truck other-vehicle person bicyclist motorcyclist road parking sidewalk other-ground '
    'building fence vegetation trunk terrain pole traffic-sign'
)
# Raw ids > class, name of the class; then the documented ids that are ignored.
TABLES = dict(
    NUSCENES=(
        '9>0 barrier; 14>1 bicycle; 15,16>2 bus; 17>3 car; 18>4 construction_vehicle; 21>5 motorcycle; '
        '2,3,4,6>6 pedestrian; 12>7 traffic_cone; 22>8 trailer; 23>9 truck; 24>10 driveable_surface; '
        '25>11 other_flat; 26>12 sidewalk; 27>13 terrain; 28>14 manmade; 30>15 vegetation',
        (0, 1, 5, 7, 8, 10, 11, 13, 19, 20, 29, 31, 41, 42, 43),
    ),
    SEMANTIC_KITTI=(
        '10,252>0 car; 11>1 bicycle; 15>2 motorcycle; 18,258>3 truck; 13,16,20,256,257,259>4 other-vehicle; '
        '30,254>5 person; 31,253>6 bicyclist; 32,255>7 motorcyclist; 40,60>8 road; 44>9 parking; 48>10 sidewalk; '
        '49>11 other-ground; 50>12 building; 51>13 fence; 70>14 vegetation; 71>15 trunk; 72>16 terrain; 80>17 pole; '
        '81>18 traffic-sign',
        (0, 1, 52, 99),
    ),
    SEMANTIC_STF=(
        '; '.join(f'{number}>{number - 1} {name}' for number, name in enumerate(KITTI_NAMES.split(), start=1)),
        (0, 20),
    ),
    WAYMO=(
        '1>0 car; 2>1 truck; 3>2 bus; 4>3 other_vehicle; 5>4 motorcyclist; 6>5 bicyclist; 7>6 pedestrian; 8>7 sign; '
        '9>8 traffic_light; 10>9 pole; 11>10 construction_cone; 12>11 bicycle; 13>12 motorcycle; 14>13 building; '
        '15>14 vegetation; 16>15 tree_trunk; 17>16 curb; 18>17 road; 19>18 lane_marker; 20>19 other_ground; '
        '21>20 walkable; 22>21 sidewalk',
        (0,),
    ),
    RELLIS_3D=(
        '3>0 grass; 4>1 tree; 5>2 pole; 6>3 water; 8>4 vehicle; 15>5 log; 17>6 person; 18>7 fence; 19>8 bush; '
        '23>9 concrete; 27>10 barrier; 31>11 puddle; 33>12 mud; 34>13 rubble',
        (0, 1, 7, 9, 10, 12),
    ),
    DAPS_3D=(
        '10,11,13,15,16,18,20,252,256,257,258,259>0 vehicle; 30,31,32,253,254,255>1 human; 40,44,48,49,60,72>2 surface;'
        '50,51,70,71,80,81>3 obstacle',
        (0, 1, 52, 99),
    ),
)
SETS = {name: getattr(label_set, name) for name in TABLES}
every_set = pytest.mark.parametrize('name', SETS)


def parse(text: str) -> tuple[dict[int, int], list[str]]:
    """Raw id to class, and the classes' names."""
    classes, names = {}, []
    for entry in text.split(';'):
        ids, target = entry.strip().split('>')
        number, name = target.split()
        assert int(number) == len(names)
        names.append(name)
        classes.update((int(raw), int(number)) for raw in ids.split(','))
    return classes, names


def test_a_set_without_ignored_ids_knows_its_largest():
    assert LabelSet(dict(road=(1, 7), car=(4,)), ignored=(), dtype='uint8').max_raw_id == 7


def test_every_set_has_a_table():
    sets = {name for name, value in vars(label_set).items() if isinstance(value, LabelSet)}
    assert sets == TABLES.keys()  # ScribbleKITTI uses SemanticKITTI's


@every_set
def test_every_16_bit_id_goes_where_the_dataset_says(name):
    classes, names = parse(TABLES[name][0])
    labels = SETS[name]
    assert [*labels.names] == names and labels.ignore_index == len(names)
    expected = [classes.get(raw, len(names)) for raw in range(1 << 16)]
    assert labels.table.tolist() == expected
    assert labels.decode(np.arange(1 << 16)).tolist() == expected


@every_set
@pytest.mark.parametrize('unlabelled', [-1, 255])
def test_no_stranger_becomes_a_class(name, unlabelled):
    classes, names = parse(TABLES[name][0])
    raw = np.arange(512)
    decoded = SETS[name].decode(raw, unlabelled=unlabelled)
    assert decoded.tolist() == [classes.get(number, unlabelled) for number in raw.tolist()]
    assert SETS[name].table.max() == len(names)  # the shared table is as it was


@every_set
def test_the_largest_documented_id(name):
    classes, ignored = parse(TABLES[name][0])[0], TABLES[name][1]
    assert SETS[name].max_raw_id == max(*classes, *ignored)
    assert sorted(SETS[name].ignored) == sorted(ignored) and not classes.keys() & set(ignored)


@every_set
def test_submission_ids_map_back_to_their_classes(name):
    labels = SETS[name]
    assert labels.decode(labels.first_raw_ids).tolist() == [*range(len(labels.names))]


def test_the_server_gets_standing_things_and_other_vehicle():
    """The inverse of SemanticKITTI's own table."""
    expected = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
    assert SEMANTIC_KITTI.first_raw_ids.tolist() == expected


def test_instances_are_dropped():
    ids = np.array([0, 10, 81, 252, 259, 0xFFFF], np.uint32)
    for instance in (1, 7, 0x8000, 0xFFFF):
        rows = ids | np.uint32(instance << 16)
        assert SEMANTIC_KITTI.ids_of(rows).tolist() == ids.tolist()


def test_signed_ids_keep_their_sign():
    """So that a damaged file is found out of range, and is not cut to a class."""
    assert label_set.DAPS_3D.ids_of(np.array([-1, 40, 1 << 20], np.int32)).tolist() == [-1, 40, 1 << 20]


@every_set
def test_no_two_classes_look_alike(name):
    metainfo = SETS[name].metainfo()
    assert len({tuple(colour) for colour in metainfo['palette']}) == len(metainfo['classes'])


def test_nuscenes_classes_are_the_devkits():
    from nuscenes.eval.lidarseg.utils import LidarsegClassMapper
    from nuscenes.utils.color_map import get_colormap

    ids = {category: number for number, category in enumerate(get_colormap())}  # in the order of their ids
    mapper = LidarsegClassMapper(SimpleNamespace(lidarseg_name2idx_mapping=ids))
    theirs = mapper.fine_idx_2_coarse_idx_mapping  # 0 is ignore
    assert len(theirs) == 32
    assert {number: label - 1 for number, label in theirs.items()} == {
        number: NUSCENES.decode(np.array([number]), unlabelled=-1)[0] for number in range(32)
    }
    assert [*mapper.coarse_name_2_coarse_idx_mapping][1:] == [*NUSCENES.names]
