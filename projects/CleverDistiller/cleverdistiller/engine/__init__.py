from cleverdistiller.engine import hooks, loops, schedulers

__all__ = ['hooks', 'loops', 'schedulers']
