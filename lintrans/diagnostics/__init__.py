"""Instruments: what is measured at given parameters, during training or afterwards, on any model.

:mod:`.noise` measures minibatch gradients, :mod:`.tails` their tails, :mod:`.curvature` the Hessian, :mod:`.along` both
along a stored training.
"""
