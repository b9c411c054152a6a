"""What chapters and outside code ask for: the paper's settings, and budgets by scale, as in ``noise("paper")``."""

from .paper import scales, scales_adaptivity
from .paper.problems import SETTINGS as SETTINGS
from .paper.scales import *  # noqa: F403

LABELS, TARGETS, PAPER_SEEDS, frame = scales.LABELS, scales.TARGETS, scales.PAPER_SEEDS, scales.frame
scale, curvature, noise, controls = scales.SCALES, scales.CURVATURE, scales.NOISE, scales.CONTROLS
tails, sizes, depth, larger = scales.TAILS, scales.SIZE_BUDGETS, scales.DEPTH_BUDGETS, scales.LARGER_BUDGETS
nonlinear, attention, own_model = scales.NONLINEAR_BUDGETS, scales.ATTENTION, scales.OWN_MODEL
double_check = scales.DOUBLE_CHECKS
adaptivity = scales_adaptivity.WHY
