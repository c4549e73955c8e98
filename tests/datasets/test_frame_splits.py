"""Few-label splits: published sizes, nesting, disjoint seeds, and slow twins of the rules."""

import hashlib
import random
from itertools import pairwise

import pytest

from cleverdistiller.datasets.frame_splits import MODES, choose_frames
from cleverdistiller.errors import InputError

NUSCENES_FRAMES = 28_130
NUSCENES_SCENES = 700


def frames_like_nuscenes(frames: int = NUSCENES_FRAMES, count: int = NUSCENES_SCENES) -> tuple[list[str], list[int]]:
    """Names without order and the row of each one's scene, as lists that belong together."""
    ids = [hashlib.md5(str(frame).encode()).hexdigest() for frame in range(frames)]
    return ids, [frame * count // frames for frame in range(frames)]


def chosen(mode: str, percent: str, seed: int = 0) -> set[str]:
    frames = choose_frames(*frames_like_nuscenes(), mode, percent, seed)
    assert frames == sorted(set(frames))
    return set(frames)


@pytest.mark.parametrize('percent, count', [('1', 281), ('5', 1406), ('10', 2813), ('25', 7032), ('100', 28130)])
def test_uniform_takes_the_published_numbers_of_nuscenes(percent, count):
    assert len(chosen('uniform', percent)) == count


@pytest.mark.parametrize(
    'frames, percent, count',
    [
        (19_130, '1', 191),
        (19_130, '10', 1913),
        (23_691, '1', 237),
        (7800, '10', 780),
        (1326, '50', 663),
        (200, '0.5', 1),
    ],
)
def test_uniform_takes_the_numbers_of_the_other_sets(frames, percent, count):
    ids = [f'{frame:06d}' for frame in range(frames)]
    assert len(choose_frames(ids, ids, 'uniform', percent)) == count


def test_a_share_is_not_rounded_before_the_count_is():
    ids = [f'{frame:06d}' for frame in range(1000)]
    assert round(1000 * 16.15 / 100) == 161  # floats give 161.49999999999997
    assert len(choose_frames(ids, ids, 'uniform', '16.15')) == 162
    assert [len(choose_frames(ids, ids, 'uniform', share)) for share in ('0.15', '0.25', '0.35')] == [2, 2, 4]


@pytest.mark.parametrize('percent, count', [('1', 7), ('5', 35), ('10', 70), ('25', 175)])
def test_scene_takes_the_published_numbers_of_scenes(percent, count):
    ids, scenes = frames_like_nuscenes()
    kept = chosen('scene', percent)
    touched = {scene for frame, scene in zip(ids, scenes) if frame in kept}
    assert len(touched) == count
    assert kept == {frame for frame, scene in zip(ids, scenes) if scene in touched}  # whole scenes


def test_stride_takes_192_frames_of_semantickitti():
    ids = [f'{frame:06d}' for frame in range(19_130)]
    assert choose_frames(ids, ids, 'stride', '1') == [f'{frame:06d}' for frame in range(0, 19_130, 100)]
    assert len(ids[::100]) == 192


@pytest.mark.parametrize('seed', range(4))
def test_smaller_uniform_lists_are_in_larger_ones_of_the_same_seed(seed):
    lists = [chosen('uniform', percent, seed) for percent in ('1', '5', '10', '25', '100')]
    assert all(small < large for small, large in pairwise(lists))


@pytest.mark.parametrize('mode', ['stride', 'scene'])
def test_steps_that_divide_each_other_nest(mode):
    one, five, ten, quarter = (chosen(mode, percent) for percent in ('1', '5', '10', '25'))
    assert one < five < ten and five < quarter
    assert not ten <= quarter  # as documented: each tenth is not always a fourth


def test_seeds_share_no_frame_as_long_as_there_is_room():
    quarters = [chosen('uniform', '25', seed) for seed in range(4)]
    assert len(set.union(*quarters)) == 4 * 7032
    assert quarters[0] & chosen('uniform', '25', seed=4)  # a fifth quarter finds no room
    hundredths = [choose_frames(*frames_like_nuscenes(1000, 25), 'uniform', '1', seed) for seed in range(64)]
    assert len(set().union(*hundredths)) == 64 * 10


@pytest.mark.parametrize('mode', MODES)
def test_the_order_of_the_frames_does_not_matter(mode):
    ids, scenes = frames_like_nuscenes(2000, 50)
    pairs = list(zip(ids, scenes))
    random.Random(0).shuffle(pairs)
    assert choose_frames(*zip(*pairs), mode, '10') == choose_frames(ids, scenes, mode, '10')


def test_uniform_gives_each_scene_about_its_share():
    ids, scenes = frames_like_nuscenes()
    for percent, fraction in (('1', 0.01), ('25', 0.25)):
        for seed in range(2):
            kept = chosen('uniform', percent, seed)
            counts = [0] * 14  # fifty scenes each
            for frame, scene in zip(ids, scenes):
                counts[scene // 50] += frame in kept
            mean = NUSCENES_FRAMES * fraction / 14
            chi_squared = sum((count - mean) ** 2 for count in counts) / (mean * (1 - fraction))
            assert 3 < chi_squared < 32  # 13 degrees of freedom: 0.2 % lie on either side


def test_the_choice_is_the_same_on_every_machine():
    kept = choose_frames(*frames_like_nuscenes(), 'uniform', '1', 3)
    pinned = '895ae0b2f4bc2a1dab7af966146b711047a6ee0378ba8bc0cfc429a17fe570fa'
    assert hashlib.sha256('\n'.join(kept).encode()).hexdigest() == pinned


@pytest.mark.parametrize('seed', [*range(9), 100])
def test_uniform_against_a_slow_twin(seed):
    ids, scenes = frames_like_nuscenes(203, 7)
    digests = {frame: hashlib.sha256(frame.encode()).hexdigest() for frame in ids}
    start = sum(203 / 2 ** (bit + 1) for bit in range(10) if seed >> bit & 1)  # v(seed): mirrored binary digits
    twin = []
    for frame in ids:
        place = sum(digest < digests[frame] for digest in digests.values())
        if (place - int(start)) % 203 < 51:  # a quarter of 203 frames is 50.75
            twin.append(frame)
    assert choose_frames(ids, scenes, 'uniform', '25', seed) == sorted(twin)


@pytest.mark.parametrize('percent, step', [('5', 20), ('10', 10), ('25', 4), ('100', 1)])
def test_scene_against_a_loop_like_slidrs(percent, step):
    ids, scenes = frames_like_nuscenes(1500, 43)
    twin = []
    for counter, scene in enumerate(range(43), start=1):  # SLidR counts before it tests
        if counter % step == 0:
            twin += [frame for frame, its_scene in zip(ids, scenes) if its_scene == scene]
    assert choose_frames(ids, scenes, 'scene', percent) == sorted(twin)


def test_scenes_follow_the_datasets_own_order_and_not_their_frames_names():
    ids = ['c0', 'c1', 'a0', 'b0']
    assert choose_frames(ids, [(2,), (2,), (9,), (10,)], 'scene', '50') == ['a0']
    assert choose_frames(ids, [(2,), (2,), (1,), (10,)], 'scene', '50') == ['c0', 'c1']


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(mode='random'), 'one of uniform, stride, scene'),
        (dict(mode='stride', seed=1), '0 for the others'),
        (dict(mode='scene', seed=1), '0 for the others'),
        (dict(seed=-1), '0 or more'),
        (dict(mode='stride', percent='3'), 'a step of whole'),
        (dict(mode='scene', percent='40'), 'a step of 2.5'),
        *((dict(percent=bad), 'above 0 and up to 100') for bad in ('0', '-1', '100.1', 'nan', 'inf', '1/2', '', 'all')),
        (dict(percent='0.1'), '40 frames in 4 scenes of infos.pkl, which is none'),
        (dict(mode='scene', percent='1'), 'at least one frame'),
        (dict(ids=[], scenes=[]), 'at least one frame'),
        (dict(ids=['a', 'b', 'a'], scenes=[0, 0, 1]), 'infos.pkl with the frame a 2 times'),
    ],
)
def test_bad_input_is_refused(options, said):
    ids, scenes = frames_like_nuscenes(40, 4)
    with pytest.raises(InputError, match=said):
        choose_frames(**{**dict(ids=ids, scenes=scenes, mode='uniform', percent='10', source='infos.pkl'), **options})
