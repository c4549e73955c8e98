"""Saying once what is unlikely in what a loader reads."""

import logging
from collections.abc import Mapping

from mmengine.logging import print_log


class Doubts:
    """What a loader has already said: each kind of doubt is told for the first file alone, in each worker."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, path: str, doubts: Mapping[str, str]) -> None:
        """Warn of the kinds that are new.

        Args:
            path (str): The file.
            doubts (Mapping[str, str]): Kind to what is unlikely in it.
        """
        for kind in doubts.keys() - self._told:
            self._told.add(kind)
            print_log(
                f'{path}: {doubts[kind]}. It is taken as it is; other files like it are not told.',
                logger='current',
                level=logging.WARNING,
            )
