from cleverdistiller.visualization.pairs import draw_pairs

__all__ = ['draw_pairs']
