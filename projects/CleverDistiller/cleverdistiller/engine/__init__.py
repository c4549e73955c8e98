from cleverdistiller.engine import hooks, schedulers

__all__ = ['hooks', 'schedulers']
