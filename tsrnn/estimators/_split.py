"""Cross-validation of panels: every series is cut at the same dates."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from tsrnn._warn import warn
from tsrnn.data.reading import read_times


class PanelTimeSeriesSplit(BaseCrossValidator):
    """Time series cross-validator that cuts by date, so that all series of a panel are cut at the same time.

    scikit-learn's `TimeSeriesSplit` counts rows: in a long frame its training part would hold all of the first series and
    nothing of the last. This one does the same over the distinct dates: the k-th test part is `test_size` dates, the
    training part the dates before it.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits, at least 1 (one split is the last `test_size` dates against what lies before).
    test_size : int, default=None
        Dates of a test part; None: ``n_dates // (n_splits + 1)``.
    max_train_size : int, default=None
        Most dates of a training part, the latest; None: all.

    See Also
    --------
    sklearn.model_selection.TimeSeriesSplit : The same for the rows of one series.

    Notes
    -----
    Dates are the distinct values of `ds` over all series, whether dates or whole numbers: series that end early are in no
    late part, and where `ds` only counts the rows of each series, "the same date" is the same count. A series that has no
    row in a training part is left out of the test part too: there is nothing that its forecast could go on from.

    There is no gap between the parts: a forecaster goes on from the last row of its training part.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsrnn import PanelTimeSeriesSplit
    >>> y = pd.DataFrame({"unique_id": list("aaaabbb"), "ds": [1, 2, 3, 4, 2, 3, 4], "y": range(7)})
    >>> for train, test in PanelTimeSeriesSplit(n_splits=2, test_size=1).split(y):
    ...     print(train, test)
    [0 1 4] [2 5]
    [0 1 2 4 5] [3 6]
    """

    def __init__(self, n_splits=5, *, test_size=None, max_train_size=None):
        self.n_splits = n_splits
        self.test_size = test_size
        self.max_train_size = max_train_size
        for name, smallest in (("n_splits", 1), ("test_size", 1), ("max_train_size", 1)):
            value = getattr(self, name)
            optional = name != "n_splits"
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < smallest:
                raise ValueError(f"{name}={value!r} must be a whole number of at least {smallest}{', or None' * optional}.")

    def split(self, X, y=None, groups=None):
        """Row numbers of each training and test part.

        Parameters
        ----------
        X : DataFrame, Series or array-like of shape (rows, ...)
            A long frame (columns `unique_id` and `ds`) in any order, or a wide frame, Series or array whose rows are the
            dates, in time order.
        y : object
            Ignored: scikit-learn hands over the frame as X.
        groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int64
            Positions of rows, in the order of the frame.

        Raises
        ------
        ValueError, TypeError
            For too few dates, dates that are missing, out of order or no dates, or where no series spans a cut.
        """
        if groups is not None:
            warn(f"The groups parameter is ignored by {type(self).__name__}")
        return self._parts(*_dates_and_series(X))

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of splits; the arguments are ignored."""
        return self.n_splits

    def __eq__(self, other):
        return type(self) is type(other) and self._params() == other._params()

    def __hash__(self):
        return hash(self._params())

    def _params(self):
        return self.n_splits, self.test_size, self.max_train_size

    def _parts(self, date, series, n_dates):
        """From the numbers of each row's date and series."""
        folds = self.n_splits + 1
        if folds > n_dates:
            raise ValueError(f"Cannot have number of folds={folds} greater than the number of dates={n_dates}.")
        size = n_dates // folds if self.test_size is None else self.test_size
        if n_dates - size * self.n_splits <= 0:
            raise ValueError(f"Too many splits={self.n_splits} for number of dates={n_dates} with test_size={size}; the first "
                             "training part would be empty.")
        for start in range(n_dates - size * self.n_splits, n_dates, size):
            first = 0 if self.max_train_size is None else max(0, start - self.max_train_size)
            train = np.flatnonzero((first <= date) & (date < start))
            started = np.isin(series, series[train])
            test = np.flatnonzero((start <= date) & (date < start + size) & started)
            if not len(test):
                raise ValueError(f"No series has rows both in the dates {first} to {start - 1} and in {start} to "
                                 f"{start + size - 1} (of {n_dates}); choose fewer splits or a larger test_size.")
            yield train, test


def _dates_and_series(X):
    """Number of the date and of the series of each row, and the number of dates."""
    if not isinstance(X, pd.DataFrame) or not {"unique_id", "ds"} & set(X.columns):
        index = getattr(X, "index", None)
        if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) and not (index.is_monotonic_increasing and index.is_unique):
            raise ValueError("The index of X has dates that are out of order or twice there; sort it, and drop repeated rows.")
        rows = len(X)
        return np.arange(rows), np.zeros(rows, np.int64), rows
    for column in ("unique_id", "ds"):
        if column not in X:
            raise ValueError(f"X lacks the column {column}; a long frame has unique_id, ds and y, a wide one neither of them.")
        if X[column].isna().any():
            raise ValueError(f"The column {column} of X contains missing values; drop these rows first.")
    date, dates = pd.factorize(read_times(X["ds"], "column 'ds'"), sort=True)
    return date, pd.factorize(X["unique_id"])[0], len(dates)
