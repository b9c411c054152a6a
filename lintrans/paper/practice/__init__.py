"""Real networks on real data: what the paper's linear model is compared with.

:mod:`.data` reads, :mod:`.architectures` has the modules, :mod:`.networks` joins them by
scale, :mod:`.protocol` trains.
"""
