from cleverdistiller.downstream import segmentors

__all__ = ['segmentors']
