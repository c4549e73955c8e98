"""What was written is read, to the last bit; what is not what was written is refused."""

import errno
import json
import os
import shutil
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cleverdistiller.datasets.image_batches import ImageBatches
from cleverdistiller.errors import InputError
from cleverdistiller.structures import TeacherFeatures
from cleverdistiller.teacher_cache import CacheRecord, Shard, TeacherCache, forms
from cleverdistiller.teacher_cache.shard import checksum_of
from cleverdistiller.teacher_cache.writing import begin_cache, check_room, unfinished_shards, verify_shard, write_shards
from teacher_caches import IMAGES, batches_of, record_of, see, write_cache


@pytest.fixture(scope='module')
def written(tmp_path_factory, frames_dir) -> Path:
    """A whole cache; do not change it, copy it."""
    folder = tmp_path_factory.mktemp('caches') / 'cache'
    write_cache(folder, frames_dir)
    return folder


@pytest.fixture
def place(tmp_path, written, frames_dir) -> SimpleNamespace:
    """A copy of the cache and of its images, to be damaged."""
    return SimpleNamespace(
        cache=shutil.copytree(written, tmp_path / 'cache'), frames=shutil.copytree(frames_dir, tmp_path / 'frames')
    )


def said_of(names: list[str], frames: Path) -> TeacherFeatures:
    """What the teacher says of images, one after the other."""
    return TeacherFeatures.collate([see(ImageBatches([[name]], str(frames), (64, 128))[0][0]) for name in names])


def read_all(place: SimpleNamespace) -> TeacherFeatures:
    return TeacherCache(place.cache, str(place.frames)).load([str(place.frames / name) for name in IMAGES])[0]


def test_each_image_gets_what_the_teacher_said_of_it_to_the_last_bit(written, frames_dir):
    cache = TeacherCache(written, str(frames_dir))
    for chosen in (IMAGES, IMAGES[::-3], [IMAGES[4]] * 2):
        found, sizes = cache.load([str(frames_dir / name) for name in chosen])
        expected = said_of(chosen, frames_dir).half()
        assert found.cache_id == cache.record.cache_id and sizes.tolist() == [[90, 160]] * len(chosen)
        assert found.named().keys() == expected.named().keys()
        for name, values in expected.named().items():
            assert torch.equal(found.named()[name], values) and values.dtype == torch.float16


def test_the_folder_holds_what_its_record_says(written):
    record = CacheRecord.read(written)
    assert record.num_shards == 3 and record.images_of(2) == IMAGES[6:]
    assert sorted(path.name for path in written.iterdir()) == ['cache.json', *(Shard.name(n) for n in range(3))]
    assert record.bytes_per_image == 2 * (2 * 6 * 2 * 4 + 6)
    assert all(0 < error < 1e-3 for error in record.relative_error.values())
    assert CacheRecord.read(written) == record and record.cache_id == CacheRecord.read(written).cache_id


def test_the_data_may_move(place, frames_dir):
    moved = place.frames.rename(place.frames.parent / 'elsewhere')
    cache = TeacherCache(place.cache, str(moved))
    assert len(cache.load([str(moved / IMAGES[0])])[0]) == 1
    with pytest.raises(InputError, match='not among the 8 images'):
        cache.load([str(frames_dir / IMAGES[0])])


def test_no_flipped_bit_is_served(place):
    """Everywhere in a shard: its header's length, its header, and its features."""
    path = place.cache / Shard.name(1)
    whole = path.read_bytes()
    for position in [*range(12), *range(12, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        with pytest.raises(InputError, match=Shard.name(1)) as error:
            read_all(place)
        assert '--verify' in str(error.value), position
    path.write_bytes(whole)
    read_all(place)


def test_a_flipped_bit_is_found_in_the_row_that_has_it_and_while_training(place):
    cache = TeacherCache(place.cache, str(place.frames))
    paths = [str(place.frames / name) for name in IMAGES]
    cache.load(paths)
    content = bytearray((place.cache / Shard.name(2)).read_bytes())
    content[-1] ^= 1  # the last row's
    (place.cache / Shard.name(2)).write_bytes(content)
    cache.load(paths[:-1])
    with pytest.raises(InputError, match=rf'(?s){Shard.name(2)}.*{IMAGES[-1]}'):
        cache.load(paths[-1:])


@pytest.mark.parametrize('kept', [0, 5, 300, -40, -1])
def test_a_shard_cut_short_is_refused_at_the_start_and_while_training(place, kept):
    cache = TeacherCache(place.cache, str(place.frames))
    cache.load([str(place.frames / IMAGES[0])])
    path = place.cache / Shard.name(0)
    with open(path, 'r+b') as file:
        file.truncate(kept % path.stat().st_size)
    for reader in (cache, TeacherCache(place.cache, str(place.frames))):
        with pytest.raises(InputError, match=Shard.name(0)):
            reader.load([str(place.frames / IMAGES[0])])


def test_a_shard_of_another_cache_and_an_absent_one_are_refused(place, tmp_path, frames_dir):
    write_cache(tmp_path / 'other', frames_dir, batch_size=3)
    shutil.copy(tmp_path / 'other' / Shard.name(0), place.cache)
    with pytest.raises(InputError, match='of the cache'):
        read_all(place)
    (place.cache / Shard.name(0)).unlink()
    with pytest.raises(InputError, match=r'(?s)without 1 of its 3 shards.*goes on where it stopped'):
        read_all(place)


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text()[:-30]),
        lambda path: path.write_text(json.dumps(dict(json.loads(path.read_text()), colour='red'))),
    ],
)
def test_a_missing_or_damaged_record_is_told(place, damage):
    damage(place.cache / 'cache.json')
    with pytest.raises(InputError, match=r'cache\.json'):
        read_all(place)


def test_a_changed_image_is_refused_before_and_after_its_first_read(place):
    image = place.frames / IMAGES[0]
    content = image.read_bytes()
    changed = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]  # of the same size
    cache = TeacherCache(place.cache, str(place.frames))
    cache.load([str(image)])
    os.utime(image, ns=(1, 1))
    cache.load([str(image)])  # touched only
    image.write_bytes(changed)
    for reader in (cache, TeacherCache(place.cache, str(place.frames))):
        with pytest.raises(InputError, match=rf'(?s){IMAGES[0]}, which has changed.*--verify'):
            reader.load([str(image)])
    image.unlink()
    with pytest.raises(InputError, match=IMAGES[0]):
        cache.load([str(image)])


@pytest.fixture
def read_whole(monkeypatch) -> list[str]:
    """Names of the images whose content was read."""
    names = []

    def read(path: str) -> tuple[int, int]:
        names.append(Path(path).name)
        return checksum_of(path)

    monkeypatch.setattr('cleverdistiller.teacher_cache.shard.checksum_of', read)
    return names


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    said = []
    log = 'cleverdistiller.teacher_cache.teacher_cache.print_log'
    monkeypatch.setattr(log, lambda text, **kwargs: said.append(text))
    return said


def touch(place: SimpleNamespace, *names: str) -> None:
    for name in names:
        before = (place.frames / name).stat().st_mtime_ns
        os.utime(place.frames / name, ns=(before, before + 1))


def verify(place: SimpleNamespace) -> dict[int, str]:
    record = CacheRecord.read(place.cache)
    check = partial(verify_shard, data_root=str(place.frames), cache_id=record.cache_id, done=lambda: None)
    return unfinished_shards(place.cache, record, range(record.num_shards), check)


def test_images_of_the_same_size_and_time_are_not_read(place, read_whole, warned):
    for _ in range(2):
        read_all(place)
    assert read_whole == warned == []


def test_where_times_differ_the_content_decides_once_and_it_is_said_once(place, read_whole, warned):
    touch(place, *IMAGES[2:4])
    cache = TeacherCache(place.cache, str(place.frames))
    for _ in range(2):
        cache.load([str(place.frames / name) for name in IMAGES])
    assert read_whole == IMAGES[2:4] and len(warned) == 1 and IMAGES[2] in warned[0] and '--verify' in warned[0]


def test_a_cache_without_times_is_read_by_content(place, read_whole, monkeypatch):
    """Caches from before times were kept hold four facts of an image; they stay good."""
    record = CacheRecord.read(place.cache)
    for number in range(record.num_shards):
        path = place.cache / Shard.name(number)
        shard = Shard.open(path, record.images_of(number), record.tensors, record.cache_id)
        rows = [shard.read(row) for row in range(len(shard.images))]
        tensors = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        with monkeypatch.context() as patch:
            names = ('name', 'num_bytes', 'crc32', 'native_size_hw')
            facts = attrgetter(*names)
            patch.setattr(
                'cleverdistiller.teacher_cache.shard.asdict',
                lambda image, names=names, facts=facts: dict(zip(names, facts(image))),
            )
            Shard.write(shard.path, tensors, shard.images, record.cache_id)
    assert b'mtime_ns' not in (place.cache / Shard.name(0)).read_bytes()
    cache = TeacherCache(place.cache, str(place.frames))
    paths = [str(place.frames / name) for name in IMAGES]
    cache.load(paths)
    cache.load(paths)
    assert read_whole == IMAGES
    assert verify(place) == {} and read_whole == 2 * IMAGES
    read_all(place)
    assert read_whole == 2 * IMAGES  # the times are there now


def test_verifying_keeps_new_times_and_every_bit_of_the_features(place, read_whole):
    whole = {path.name: path.read_bytes() for path in place.cache.iterdir()}
    assert verify(place) == {}
    assert {path.name: path.read_bytes() for path in place.cache.iterdir()} == whole
    features = read_all(place).named()
    touch(place, IMAGES[0], IMAGES[-1])
    read_whole.clear()
    assert verify(place) == {} and read_whole == IMAGES
    changed = {path.name for path in place.cache.iterdir() if path.read_bytes() != whole[path.name]}
    assert changed == {Shard.name(0), Shard.name(2)}
    read_whole.clear()
    assert all(torch.equal(values, features[name]) for name, values in read_all(place).named().items())
    assert read_whole == []


def test_verifying_finds_what_size_and_time_do_not_tell(place):
    image = place.frames / IMAGES[4]
    content, found = image.read_bytes(), image.stat()
    image.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    os.utime(image, ns=(found.st_atime_ns, found.st_mtime_ns))
    read_all(place)
    faults = verify(place)
    assert faults.keys() == {1} and f'{IMAGES[4]}, which has changed' in faults[1]


def test_only_what_is_absent_damaged_or_outdated_is_written_again(place):
    record = CacheRecord.read(place.cache)
    (place.cache / Shard.name(0)).unlink()
    path = place.cache / Shard.name(2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    def read(shard: Shard) -> None:
        for row in range(len(shard.images)):
            shard.read(row)

    assert unfinished_shards(place.cache, record, range(3), None).keys() == {0}
    faults = unfinished_shards(place.cache, record, range(3), read)
    assert faults[0] == '' and Shard.name(2) in faults[2] and faults.keys() == {0, 2}
    write_shards(place.cache, record, [2], iter(batches_of(record, [2], place.frames)), see, {}, lambda count: None)
    assert path.read_bytes() == whole


def test_a_full_disk_is_told_before_and_while_writing(tmp_path, frames_dir, monkeypatch):
    wanted = record_of()
    record = begin_cache(tmp_path, wanted, True, lambda: see(torch.zeros(4, 3, 64, 128)))
    monkeypatch.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=8 * (record.bytes_per_image + 511)))
    with pytest.raises(InputError, match='GiB free'):
        check_room(tmp_path, record, 8)
    check_room(tmp_path, record, 7)

    write_bytes = Path.write_bytes

    def fills_up(path: Path, content: bytes) -> int:
        if Shard.name(1) in path.name:
            write_bytes(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, 'write_bytes', fills_up)
    with pytest.raises(InputError, match=r'(?s)No space left.*complete shards are kept'):
        write_shards(
            tmp_path, record, range(3), iter(batches_of(record, range(3), frames_dir)), see, {}, lambda count: None
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cache.json', Shard.name(0)]


def test_a_cache_begun_otherwise_is_not_gone_on_with(place):
    begin_cache(place.cache, record_of(), True, lambda: None)
    changes = dict(batch_size=4, images=IMAGES[1:], teacher=dict(type='Seeing', depth=4))
    with pytest.raises(InputError) as error:
        begin_cache(place.cache, record_of(**changes), True, lambda: None)
    assert all(told in str(error.value) for told in ('batch_size=2', 'batch_size=4', '8 (', '7 (', 'teacher.depth=3'))
    assert 'shard_size' not in str(error.value)


def test_a_teacher_that_differs_is_named():
    with pytest.raises(InputError) as error:
        record_of().check(dict(type='Seeing', depth=4, width=2), 'DIR')
    assert 'depth=3' in str(error.value) and 'depth=4' in str(error.value) and 'width=2' in str(error.value)
    assert 'type' not in str(error.value) and 'DIR' in str(error.value)


@pytest.mark.parametrize('value', [7e4, float('nan'), float('inf')])
def test_features_beyond_half_precision_are_refused(value):
    features = dict(patches=torch.full((1, 2, 2, 2), value))
    for form in ('fp16', 'int8'):
        with pytest.raises(InputError, match='patches of the teacher'):
            forms.encode(features, form, {})


def test_bytes_with_a_scale_equal_a_loop_over_tokens():
    values = torch.randn(2, 5, 3, 4) * torch.rand(2, 1, 3, 4) * 100
    values[0, :, 0, 0] = 0
    kept = forms.encode(dict(patches=values), 'int8', {})
    for image in range(2):
        found = forms.decode({name: each[image] for name, each in kept.items()}, 'int8', {})['patches']
        for row in range(3):
            for col in range(4):
                token = values[image, :, row, col]
                step = max(float(token.abs().max()), 1e-12) / 127
                slow = torch.tensor([round(float(x) / step) * step for x in token])
                torch.testing.assert_close(found[:, row, col].float(), slow, rtol=2e-3, atol=step * 0.02)
                assert (found[:, row, col].float() - token).abs().max() <= step * 0.52


def test_components_are_the_best_that_many():
    values = torch.einsum('kd,nkhw->ndhw', torch.randn(6, 12), torch.randn(4, 6, 3, 5)) + torch.randn(12, 1, 1)
    features = dict(patches=values, class_token=torch.randn(4, 12))
    errors = []
    for components in (2, 4, 6):
        basis = forms.fit_basis(features, components)
        kept = forms.encode(features, 'pca', basis)
        assert kept['patches'].shape == (4, components, 3, 5) and basis.keys() == {'patches.mean', 'patches.basis'}
        found = [forms.decode({name: each[n] for name, each in kept.items()}, 'pca', basis) for n in range(4)]
        assert torch.equal(torch.stack([each['class_token'] for each in found]), features['class_token'].half())
        tokens = values.transpose(0, 1).flatten(1)
        rest = torch.linalg.svdvals(tokens - tokens.mean(1, keepdim=True))[components:].square().sum()
        lost = (torch.stack([each['patches'] for each in found]).float() - values).square().sum()
        assert float(lost) == pytest.approx(float(rest), rel=0.01, abs=0.01)
        errors.append(forms.relative_error(torch.stack([each['patches'] for each in found]), values))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 2e-3
    with pytest.raises(InputError, match='1 to 12'):
        forms.fit_basis(features, 13)


@pytest.mark.parametrize('form, largest', [('int8', 0.01), ('pca', 0.2)])
def test_a_smaller_form_is_read_with_about_the_error_that_it_tells(tmp_path, frames_dir, form, largest):
    record = write_cache(tmp_path, frames_dir, form=form, components=5 if form == 'pca' else None)
    found, _ = TeacherCache(tmp_path, str(frames_dir)).load([str(frames_dir / name) for name in IMAGES])
    expected = said_of(IMAGES, frames_dir).named()
    for name, values in found.named().items():
        assert values.dtype == torch.float16
        error = forms.relative_error(values, expected[name])
        assert error < largest and error == pytest.approx(record.relative_error[name], rel=1, abs=1e-3)
    if form == 'pca':
        basis = tmp_path / 'basis.safetensors'
        basis.write_bytes(basis.read_bytes()[:-1] + b'\xff')
        with pytest.raises(InputError, match='basis'):
            TeacherCache(tmp_path, str(frames_dir))


def test_features_of_scans_are_joined_and_moved_together():
    scans = [see(torch.randint(255, (count, 3, 64, 128))) for count in (2, 1)]
    joined = TeacherFeatures.collate(scans)
    assert len(joined) == 3 and joined.blocks.keys() == {-2}
    for name, values in joined.named().items():
        assert torch.equal(values, torch.cat([scan.named()[name] for scan in scans]))
    assert {values.device.type for values in joined.to(torch.device('meta')).named().values()} == {'meta'}
    one, other = (TeacherFeatures(scans[0].patches, {}, cache_id=name) for name in 'ab')
    assert TeacherFeatures.collate([one, one]).cache_id == 'a'
    assert TeacherFeatures.collate([one, other]).cache_id not in ('a', 'b')
    np.testing.assert_equal(TeacherFeatures.from_named(joined.named()).class_token.numpy(), joined.class_token.numpy())
