"""A logistic regression on what one block of a trained network sees."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from detl import folds
from detl.backbones import block_names
from detl.checks import check_classes, check_count, check_labels, check_positive
from detl.features.extraction import FeatureExtractor
from detl.features.lookup import PrecomputedFeatures
from detl.pretraining.batches import ClassWeight
from detl.pretraining.source import SharesSource, Source, source_network
from detl.seeds import integer_seed, seed_sequence

_STEPS = 1000  # of the solver; on standardised features a few dozen are enough


class LinearProbe(ClassifierMixin, SharesSource):
    """Choose a block of a trained network and learn a logistic regression on it.

    The block and the penalty are chosen inside ``fit``, by folds of the images that ``fit`` is
    given: a cross-validation of the probe is a nested one, and its score is not flattered by the
    choice. The network is never trained and runs once for each image.

    Parameters
    ----------
    source : SourceModel, keras.Model, path or PrecomputedFeatures
        As for :class:`detl.FeatureExtractor`. Where :func:`detl.features.precomputed` returned it,
        only the penalty is chosen.
    blocks : sequence of str, optional
        Blocks, units or layers to choose from; by default all that
        :func:`detl.backbones.block_names` finds, or the last convolution where it finds none.
    grid : int, default=1
        Feature maps are averaged in ``grid`` × ``grid`` cells.
    Cs : sequence of float, default=(0.001, 0.03, 1.0)
        Penalties to choose from, as ``C`` of scikit-learn: the smaller, the stronger.
    n_splits : int, default=3
        Inner folds; fewer where a class has fewer groups, or images.
    class_weight : {"balanced", None} or dict of label to float, default=None
        As for :class:`sklearn.linear_model.LogisticRegression`.
    scoring : str, default="accuracy"
        What the choice is made by: a scorer of scikit-learn.
    cache_dir : path, optional
        As for :class:`detl.FeatureExtractor`.
    random_state : int, numpy generator or None, default=None
        Seeds the inner folds.
    verbose : int, default=1
        1 shows a progress bar in a terminal or a notebook, 0 nothing.

    Attributes
    ----------
    best_params_ : dict
        ``block`` and ``C`` that were chosen; of precomputed features ``C`` alone.
    scores_ : dict of str to numpy.ndarray
        Mean inner score of each block, ``(n_Cs,)``. The best of them is too good to be reported.
    extractor_ : FeatureExtractor or PrecomputedFeatures
        What gives the features of all blocks, side by side.
    regression_ : sklearn.pipeline.Pipeline
        Standardisation and logistic regression on the columns of the chosen block.
    classes_ : numpy.ndarray of shape (n_classes,)
        Class labels, sorted.
    n_features_in_ : int
        Length of the second axis of ``X``.

    References
    ----------
    Alain, Bengio 2016, "Understanding intermediate layers using linear classifier probes".
    Varma, Simon 2006, "Bias in error estimation when using cross-validation for model selection".

    Examples
    --------
    >>> import numpy as np
    >>> from detl import backbones
    >>> from detl.recipes import LinearProbe
    >>> images = np.zeros((12, 64, 64, 1), dtype="uint8")
    >>> images[6:, 8:24, 8:24] = 255
    >>> labels = ["dark"] * 6 + ["bright"] * 6
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # untrained: only to show the call
    >>> probe = LinearProbe(source, blocks=["block2", "block3"], random_state=0)
    >>> probe.fit(images, labels).predict(images[[0, 7]]).tolist()
    ['dark', 'bright']
    >>> probe.best_params_
    {'block': 'block2', 'C': 0.001}
    """

    # scikit-learn's way to say that fit takes groups where somebody has them.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(
        self,
        source: Source | PrecomputedFeatures,
        *,
        blocks: Sequence[str] | None = None,
        grid: int = 1,
        Cs: Sequence[float] = (0.001, 0.03, 1.0),
        n_splits: int = 3,
        class_weight: ClassWeight | dict[Any, float] = None,
        scoring: str = "accuracy",
        cache_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 1,
    ) -> None:
        self.source = source
        self.blocks = blocks
        self.grid = grid
        self.Cs = Cs
        self.n_splits = n_splits
        self.class_weight = class_weight
        self.scoring = scoring
        self.cache_dir = cache_dir
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, groups: Any = None) -> LinearProbe:
        """Choose block and penalty by inner folds, then learn from all images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Pixels in [0, 255]; may be a memory map.
        y : array-like of shape (n,)
            Class of each image.
        groups : array-like of shape (n,), optional
            Patient of each image: inner folds keep a patient on one side, so that a block that
            merely tells patients apart wins nothing. :func:`detl.cross_validate` hands them on.

        Returns
        -------
        LinearProbe
            Itself.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            Once, if regressions did not converge.
        """
        blocks, penalties = self._checked_choices()
        self.extractor_ = self._extractor(blocks).fit(X)
        labels = check_labels(y, len(X), name="y", of="rows of X")
        check_classification_targets(labels)
        self.classes_, _ = check_classes(labels)
        inner = self._inner_folds(labels, groups)
        rows = self.extractor_.transform(X).astype("float64")  # float32 stops the solver early
        regression = LogisticRegression(class_weight=self.class_weight, max_iter=_STEPS)
        # One thread, as in transfer/linear_probe.py.
        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ConvergenceWarning)
            self.scores_ = {}
            for block in blocks:
                search = GridSearchCV(
                    make_pipeline(StandardScaler(), regression),
                    {"logisticregression__C": penalties},
                    scoring=self.scoring,
                    cv=inner,
                    refit=False,
                    error_score="raise",
                ).fit(rows[:, self._columns(blocks, block)], labels)
                self.scores_[block] = search.cv_results_["mean_test_score"]
            # Of equals the first: the lowest block, the strongest penalty.
            block = max(blocks, key=lambda name: self.scores_[name].max())
            self.best_params_ = {
                "block": block,
                "C": penalties[int(self.scores_[block].argmax())],
            }
            if self._is_precomputed:
                del self.best_params_["block"]
            self._chosen = self._columns(blocks, block)
            regression.set_params(C=self.best_params_["C"])
            self.regression_ = make_pipeline(StandardScaler(), regression)
            self.regression_.fit(rows[:, self._chosen], labels)
        self.n_features_in_ = self.extractor_.n_features_in_
        _say_once(warned)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each image, ``(n, n_classes)``."""
        check_is_fitted(self)
        rows = self.extractor_.transform(X)[:, self._chosen]
        return np.asarray(self.regression_.predict_proba(rows.astype("float64")))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each image, ``(n,)``."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.source, PrecomputedFeatures)

    def _extractor(self, blocks: list[str]) -> FeatureExtractor | PrecomputedFeatures:
        if isinstance(self.source, PrecomputedFeatures):
            return clone(self.source)
        return FeatureExtractor(
            self.source,
            layers=blocks,
            grid=self.grid,
            cache_dir=self.cache_dir,
            verbose=self.verbose,
        )

    def _checked_choices(self) -> tuple[list[str], list[float]]:
        """Return the blocks and penalties to choose from."""
        if self._is_precomputed and (self.blocks is not None or self.grid != 1):
            raise ValueError(
                f"blocks={self.blocks!r} and grid={self.grid!r} choose what is taken of a network, "
                "but the features are precomputed; leave both out."
            )
        if isinstance(self.blocks, str):
            raise TypeError(f"blocks is the text {self.blocks!r}; expected [{self.blocks!r}].")
        names = self.blocks
        if self._is_precomputed:
            names = ["precomputed"]
        elif names is None:
            names = block_names(source_network(self.source)) or ["last_block"]
        if isinstance(self.Cs, str) or not isinstance(self.Cs, Sequence | np.ndarray):
            raise TypeError(f"Cs is {self.Cs!r}; expected numbers above 0, such as [0.01, 1].")
        if len(self.Cs) == 0:
            raise ValueError("Cs is empty; give at least one number above 0.")
        for number in self.Cs:
            check_positive("Cs", number)
        check_count("n_splits", self.n_splits, at_least=2)
        return list(names), sorted(float(number) for number in self.Cs)

    def _inner_folds(self, labels: np.ndarray, groups: Any) -> list[folds.Indices]:
        units = np.arange(len(labels))
        if groups is not None:
            groups = units = check_labels(groups, len(labels), name="groups", of="rows of X")
        rarest = min(len(np.unique(units[labels == name])) for name in self.classes_)
        return folds.stratified_folds(
            labels,
            groups=groups,
            n_splits=min(self.n_splits, max(2, rarest)),
            random_state=integer_seed(seed_sequence(self.random_state)),
        )

    def _columns(self, blocks: list[str], block: str) -> slice:
        """Return where the features of a block are among those of all."""
        if isinstance(self.extractor_, PrecomputedFeatures):
            return slice(None)
        place = blocks.index(block)
        ends = np.cumsum([0, *self.extractor_.layer_sizes_])
        return slice(int(ends[place]), int(ends[place + 1]))


def _say_once(warned: list[warnings.WarningMessage]) -> None:
    """Warn again of what was warned of, but once of all regressions that did not converge."""
    for warning in warned:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn(warning.message, warning.category, stacklevel=3)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in warned):
        warnings.warn(
            f"Some regressions of the probe did not converge in {_STEPS} steps; give smaller Cs, "
            "such as Cs=(0.001, 0.03).",
            ConvergenceWarning,
            stacklevel=3,
        )
