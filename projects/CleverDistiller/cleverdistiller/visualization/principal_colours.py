"""Colours that tell features apart: like features, like colours."""

from dataclasses import dataclass

import numpy as np

from cleverdistiller.errors import InputError

PERCENTILES = (1, 99)  # of the features it is fitted on, for the dark and the bright end: outliers do not stretch it
FEWEST = 4  # vectors that span three directions about their mean


@dataclass(frozen=True)
class PrincipalColours:
    """The three strongest principal components as red, green and blue.

    Args:
        mean (np.ndarray): (D,) taken off first.
        components (np.ndarray): (3, D) orthonormal, the strongest first.
        low (np.ndarray): (3,) value of each component that is drawn as 0.
        high (np.ndarray): (3,) value that is drawn as 255.
        share (float): Share of the variance that the three hold, 0 to 1.
    """

    mean: np.ndarray
    components: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: float

    @classmethod
    def fit(cls, features: np.ndarray) -> 'PrincipalColours':
        """Fit basis and scaling.

        Args:
            features (np.ndarray): (P, D), D at least 3.

        Returns:
            PrincipalColours: For these and any other features of the same space.

        Raises:
            InputError: If there are fewer than four.
        """
        if len(features) < FEWEST:
            raise InputError(
                f'{len(features)} paired points', f'at least {FEWEST} to choose colours by', 'choose another frame'
            )
        mean = features.mean(0, dtype=np.float64)
        centred = features - mean
        variances, vectors = np.linalg.eigh(centred.T @ centred)  # ascending
        components = vectors[:, :-4:-1].T
        # The sign of an eigenvector is free: its largest entry is made positive, so that colours are repeatable.
        largest = np.abs(components).argmax(1)
        components = components * np.sign(components[np.arange(3), largest])[:, None]
        low, high = np.percentile(centred @ components.T, PERCENTILES, axis=0)
        share = variances[-3:].sum() / max(variances.sum(), np.finfo(float).tiny)
        return cls(mean, components, low, np.maximum(high, low + 1e-9), float(share))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(..., D) features to (..., 3) uint8 colours."""
        values = (features - self.mean) @ self.components.T
        return (np.clip((values - self.low) / (self.high - self.low), 0, 1) * 255).astype(np.uint8)
