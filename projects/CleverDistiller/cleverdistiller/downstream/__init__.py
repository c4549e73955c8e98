from cleverdistiller.downstream import detectors, segmentors

__all__ = ['detectors', 'segmentors']
