import math
from collections.abc import Mapping, Sequence

import numpy as np


def class_means(numbers: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """Means over the classes with objects.

    Args:
        numbers (Mapping[str, float]): ``CLASS/NAME``, the same names for each class, NaN for one without objects.
        classes (Sequence[str]): At least one.

    Returns:
        dict[str, float]: ``mean/NAME`` for all but the counts ``CLASS/objects/...``; NaN where no class has objects.
    """
    first = f'{classes[0]}/'
    means = {}
    for name in (key.removeprefix(first) for key in numbers if key.startswith(first)):
        if not name.startswith('objects/'):
            values = [numbers[f'{kind}/{name}'] for kind in classes]
            values = [value for value in values if not math.isnan(value)]
            means[f'mean/{name}'] = float(np.mean(values)) if values else math.nan
    return means
