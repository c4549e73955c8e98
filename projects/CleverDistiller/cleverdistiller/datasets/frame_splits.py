"""Few-label splits: which frames of a training set count as labelled. Exact rules, without a random generator."""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from cleverdistiller.errors import InputError

MODES = ('uniform', 'stride', 'scene')


def choose_frames(
    ids: Sequence[str],
    scenes: Sequence[Hashable],
    mode: str,
    percent: str,
    seed: int = 0,
    source: str = 'the training set',
) -> list[str]:
    """Choose a share of a training set by one of the published rules.

    ``uniform``: frames spread over the whole set, the paper's protocol. See :func:`uniform_frames`.
    ``stride``: each (100 / percent)th frame; SLidR and ScaLR on SemanticKITTI. See :func:`stride_frames`.
    ``scene``: whole scenes; SLidR on nuScenes. See :func:`scene_frames`.

    Results of different modes are not comparable: neighbouring frames are nearly copies, so that 1 % of the frames of
    nuScenes, spread out, teach more than 1 % of its scenes.

    Args:
        ids (Sequence[str]): N frames, in any order.
        scenes (Sequence[Hashable]): (N,) the scene of each; sorting them gives the dataset's own order of scenes.
        mode (str): One of ``MODES``.
        percent (str): Share of the frames (of the scenes for ``scene``) as a decimal number, such as ``'1'``.
        seed (int): For ``uniform``; the others have none, which is 0.
        source (str): Where the frames came from, for messages.

    Returns:
        list[str]: The chosen frames, sorted.

    Raises:
        InputError: For an unknown mode, a share that is no number in (0, 100], a seed that the mode does not have, a
            frame that comes twice, a share that the mode cannot take, or if no frame is left.
    """
    if mode not in MODES:
        raise InputError(f'split mode {mode}', f'one of {", ".join(MODES)}', 'choose one of them')
    if seed < 0 or (seed and mode != 'uniform'):
        raise InputError(
            f'seed {seed} for the split mode {mode}',
            '0 or more for uniform, 0 for the others',
            'leave the seed out, or choose uniform',
        )
    frame, times = Counter(ids).most_common(1)[0] if ids else ('', 0)
    if times > 1:
        raise InputError(f'{source} with the frame {frame} {times} times', 'each frame once', 'build its index again')
    share = Fraction(exact_percent(percent)) / 100
    if mode == 'uniform':
        chosen = uniform_frames(ids, share, seed)
    elif mode == 'stride':
        chosen = stride_frames(ids, share)
    else:
        chosen = scene_frames(ids, scenes, share)
    if not chosen:
        raise InputError(
            f'{percent} % of the {len(ids)} frames in {len(set(scenes))} scenes of {source}, which is none by {mode}',
            'at least one frame',
            'take a larger share or the mode uniform',
        )
    return sorted(chosen)


def uniform_frames(ids: Sequence[str], share: Fraction, seed: int) -> list[str]:
    """Take round(N * share) frames, spread over the set as by chance.

    The frames are put in order of the SHA-256 of their ids, which has nothing to do with time or scene. Seed s takes
    the next ``n = round(N * share)`` frames from place ``floor(N * v(s))`` on, around the end, where v is
    :func:`van_der_corput`'s sequence 0, 1/2, 1/4, 3/4, 1/8, ... Therefore

    - a list is the same on every machine and for every version of every library;
    - a seed's smaller lists are in its larger ones, since both start at the same place;
    - the lists of the first S seeds share no frame as long as ``n * S <= N`` with S rounded up to a power of two,
      since so many starts are at least ``floor(N / S)`` places apart: four seeds of 25 %, 64 seeds of 1 %.

    Halves are rounded to even numbers: 1 % of nuScenes' 28,130 frames are 281, 5 % 1,406, 10 % 2,813, 25 % 7,032.

    Args:
        ids (Sequence[str]): N frames, in any order.
        share (Fraction): In (0, 1].
        seed (int): Which of the lists; 0 or more.

    Returns:
        list[str]: n frames.
    """
    ordered = sorted(ids, key=lambda frame: hashlib.sha256(frame.encode()).digest())
    start = math.floor(len(ordered) * van_der_corput(seed))
    return (ordered[start:] + ordered[:start])[: round(len(ordered) * share)]


def stride_frames(ids: Sequence[str], share: Fraction) -> list[str]:
    """Take the first frame, then every (1 / share)th, in the order of their names.

    As SLidR and ScaLR do on SemanticKITTI, where 1 % of 19,130 frames are 192. Lists are nested if one step divides
    the other: 1 % in 5 % in 10 %, but not 10 % (each tenth) in 25 % (each fourth).

    Args:
        ids (Sequence[str]): N frames, in any order.
        share (Fraction): In (0, 1]; its inverse must be whole.

    Returns:
        list[str]: ceil(N * share) frames.

    Raises:
        InputError: If the step is not whole.
    """
    return sorted(ids)[:: _step(share)]


def scene_frames(ids: Sequence[str], scenes: Sequence[Hashable], share: Fraction) -> list[str]:
    """Take all frames of every (1 / share)th scene, in the dataset's own order.

    As SLidR does on nuScenes: 7, 35, 70 and 175 of 700 scenes for 1, 5, 10 and 25 %. It counts scenes from one, so
    that the first one taken for 1 % is the hundredth. Lists are nested as those of :func:`stride_frames`.

    Args:
        ids (Sequence[str]): N frames, in any order.
        scenes (Sequence[Hashable]): (N,) the scene of each; sorting them gives the dataset's own order of scenes.
        share (Fraction): In (0, 1]; its inverse must be whole.

    Returns:
        list[str]: The frames of floor(S * share) of the S scenes; none if there are too few scenes.

    Raises:
        InputError: If the step is not whole.
    """
    step = _step(share)
    taken = frozenset(sorted(set(scenes))[step - 1 :: step])
    return [frame for frame, scene in zip(ids, scenes, strict=True) if scene in taken]


def van_der_corput(index: int) -> Fraction:
    """0, 1/2, 1/4, 3/4, 1/8, ...: the binary digits of ``index`` mirrored at the point (van der Corput, 1935)."""
    digits = f'{index:b}'
    return Fraction(int(digits[::-1], 2), 2 ** len(digits))


def exact_percent(text: str) -> Decimal:
    """Read a share in per cent without rounding, spelt as short as it can be: ``'1.0'`` is 1.

    Raises:
        InputError: If it is no decimal number above 0 and up to 100.
    """
    try:
        percent = Decimal(text)
    except InvalidOperation:
        percent = Decimal('NaN')
    if not percent.is_finite() or not 0 < percent <= 100:
        raise InputError(f'a share of {text} %', 'a decimal number above 0 and up to 100', 'say 1 or 0.5, for example')
    return percent.normalize()


def _step(share: Fraction) -> int:
    if share.numerator != 1:
        raise InputError(
            f'a share of {float(share * 100):g} %, a step of {float(1 / share):g}',
            'a step of whole frames or scenes, such as for 1, 5, 10 or 25 %',
            'take one of these shares, or the mode uniform',
        )
    return share.denominator
