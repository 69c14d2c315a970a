"""Cross-validation: one run per fold, and the mean of their tests."""

from nwavesdk.analysis.folds.study import Fold, FoldStudy

__all__ = ["Fold", "FoldStudy"]
