"""Pictures: what is drawn, and that drawing leaves no trace."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import LSTMRegressor
from tsrnn.estimators.forecast import WindowForecaster
from tsrnn.estimators.naive import NaiveForecaster, SeasonalNaiveForecaster
from tsrnn.plotting import BacktestDisplay, ForecastDisplay, HistoryDisplay

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("ignore:skill_", "ignore:Stochastic Optimizer", "ignore:level=")


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "tsrnn\[plot\]"'):
        ForecastDisplay.from_frame(pd.DataFrame({"unique_id": ["a"], "ds": [1], "LSTM": [1.0]}))


@pytest.fixture(scope="module")
def wide():
    """Four hourly series; C begins later."""
    rng = np.random.default_rng(0)
    waves = 100 + 20 * np.sin(np.arange(400) * np.pi / 12)[:, None] + rng.normal(0, 3, (400, 4))
    frame = pd.DataFrame(waves, pd.date_range("2026-01-01", periods=400, freq="h"), list("ABCD"))
    frame.iloc[:50, 2] = np.nan
    return frame


@pytest.fixture(scope="module")
def long(wide):
    return wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y").dropna()


def ridge(**parameters):
    return WindowForecaster(Ridge(), **{"window": 24, "horizon": 12, **parameters})


@pytest.fixture(scope="module")
def one(wide):
    return ridge().fit(wide["A"][:-12])


@pytest.fixture(scope="module")
def many(wide):
    return ridge(seasonality=24).fit(wide)


@pytest.fixture(scope="module")
def frame(many, wide):
    return many.backtest(wide, n_splits=4, level=[80, 95])


def drawn(line):
    return np.asarray(line.get_ydata(), float)


def sides(band):
    """Lowest and highest value of a polygon at each of its positions."""
    points = pd.DataFrame(np.concatenate([path.vertices for path in band.get_paths()]), columns=["x", "y"])
    groups = points.groupby("x")["y"]
    return groups.min().to_numpy(), groups.max().to_numpy()


def words(legend):
    return [text.get_text() for text in legend.get_texts()]


class TestForecastDisplay:
    def test_lines_and_bands_are_the_forecast(self, one, wide):
        display = ForecastDisplay.from_estimator(one, level=[80, 95], y_true=wide["A"], n_history=30)
        forecast, y = one.predict(level=[80, 95]), wide["A"].to_numpy()
        lines, bands = display.lines_[0], display.bands_[0]
        assert np.array_equal(drawn(lines["history"]), y[-42:-12])
        assert np.array_equal(drawn(lines["Ridge"]), [y[-13], *forecast["Ridge"]])  # from the last known value on
        assert np.array_equal(drawn(lines["naive"]), np.full(13, y[-13]))
        assert np.array_equal(drawn(lines["y_true"]), y[-13:])
        assert set(bands) == {("Ridge", 80), ("Ridge", 95)}
        for level in (80, 95):
            low, high = sides(bands["Ridge", level])
            np.testing.assert_allclose(low[1:], forecast[f"Ridge-lo-{level}"])
            np.testing.assert_allclose(high[1:], forecast[f"Ridge-hi-{level}"])
        x = np.asarray(lines["Ridge"].get_xdata()).astype("M8[ns]")
        assert np.array_equal(x[1:], forecast.index.to_numpy().astype("M8[ns]"))
        assert display.ax_.get_title(loc="left") == "A: forecast of 12 steps by Ridge"
        assert display.ax_.figure is display.figure_

    def test_legend_names_all_and_shows_bands_as_dark_as_they_are(self, one):
        display = ForecastDisplay.from_estimator(one, level=[50, 80, 95])
        assert words(display.legend_) == ["history", "naive: repeat the last value", "Ridge", "50 % interval", "80 % interval",
                                          "95 % interval"]
        alphas = [handle.get_facecolor()[3] for handle in display.legend_.legend_handles[3:]]
        assert alphas[0] > alphas[1] > alphas[2] > 0
        display.figure_.canvas.draw()
        assert not display.legend_.get_window_extent().overlaps(display.ax_.get_window_extent())

    def test_no_intervals(self, one):
        for level in (None, ()):
            display = ForecastDisplay.from_estimator(one, 30, level=level)
            assert display.bands_ == [{}] and len(drawn(display.lines_[0]["Ridge"])) == 31

    def test_seasonal_naive(self, many, wide):
        display = ForecastDisplay.from_estimator(many, series="B")
        assert np.array_equal(drawn(display.lines_[0]["naive"])[1:], wide["B"].to_numpy()[-24:-12])
        assert "naive: repeat the last 24 steps" in words(display.legend_)

    @pytest.mark.parametrize("kind", ["array", "matrix", "wide", "joined", "long", "period", "zone", "levels"])
    @pytest.mark.parametrize("level", [None, (80,)])
    def test_every_kind_of_series(self, wide, long, kind, level):
        y = {
            "array": wide["A"].to_numpy(), "matrix": wide.to_numpy(), "wide": wide, "long": long, "joined": wide[list("ABD")],
            "period": wide["A"].to_period(), "zone": wide["A"].tz_localize("UTC").tz_convert("Europe/Berlin"),
            "levels": wide.set_axis(pd.MultiIndex.from_product([("a", "b"), ("x", "y")]), axis=1),
        }[kind]
        forecaster = ridge(multivariate=kind == "joined").fit(y)
        display = ForecastDisplay.from_estimator(forecaster, level=level, max_series=2)
        expected = ForecastDisplay.from_estimator(ridge(multivariate=kind == "joined").fit(y), y=y, level=level, max_series=2)
        assert len(display.axes_) == (1 if kind in ("array", "period", "zone") else 2)
        for k, (lines, name) in enumerate(zip(display.lines_, "AB")):
            assert np.array_equal(drawn(lines["history"])[-30:], wide[name].to_numpy()[-30:])
            assert len(drawn(lines["Ridge"])) == 13 and np.isfinite(drawn(lines["Ridge"])).all()
            assert np.array_equal(drawn(lines["Ridge"]), drawn(expected.lines_[k]["Ridge"]))
            assert len(display.bands_[k]) == len(level or ())
        display.figure_.canvas.draw()  # dates can be written

    def test_names_of_several_levels_are_joined(self, wide):
        y = wide.set_axis(pd.MultiIndex.from_product([("a", "b"), ("x", "y")]), axis=1)
        display = ForecastDisplay.from_estimator(ridge().fit(y), series="a-y")
        assert display.ax_.get_title(loc="left").startswith("a-y")

    def test_several_series_have_axes_of_their_own(self, many):
        display = ForecastDisplay.from_estimator(many, series=["D", "B"])
        assert [ax.get_title(loc="left") for ax in display.axes_] == ["D", "B"]
        assert len(ForecastDisplay.from_estimator(many, max_series=10).figure_.axes) == 4

    def test_series_without_forecast_are_not_chosen(self, long):
        short = pd.DataFrame({"unique_id": "0", "ds": pd.date_range("2026-01-01", periods=5, freq="h"), "y": range(5)})
        with pytest.warns(UserWarning, match="cannot be forecast"):
            forecaster = ridge().fit(pd.concat([short, long]))
        display = ForecastDisplay.from_estimator(forecaster)
        assert display.ax_.get_title(loc="left").startswith("A:")

    def test_truth_as_array(self, one, wide):
        truth = wide["A"].to_numpy()[-12:]
        display = ForecastDisplay.from_estimator(one, y_true=list(truth[:5]))
        assert np.array_equal(drawn(display.lines_[0]["y_true"])[1:], truth[:5])

    def test_short_histories(self, wide):
        display = ForecastDisplay.from_frame(pd.Series([3.0], [pd.Timestamp("2026-01-03")], name="model"),
                                             history=wide["A"][:1].set_axis([pd.Timestamp("2026-01-02")]), seasonality=24)
        assert list(display.lines_[0]) == ["history", "naive", "model"]
        assert "naive: repeat the last value" in words(display.legend_)  # no season to repeat
        display.figure_.canvas.draw()

    def test_frame_of_several_models(self, wide):
        forecast = pd.DataFrame({"a": [1.0, 2], "a-q-0.1": [0.0, 1], "a-q-0.9": [2.0, 3], "a-q-0.5": [1.0, 2], "b": [2.0, 2]})
        display = ForecastDisplay.from_frame(forecast)
        assert list(display.lines_[0]) == ["a", "b"] and list(display.bands_[0]) == [("a", 80)]
        assert words(display.legend_) == ["a", "b", "a 80 % interval"]
        assert list(ForecastDisplay.from_frame(forecast, model="b").lines_[0]) == ["b"]

    def test_frames_that_predict_returned(self, many, wide):
        display = ForecastDisplay.from_frame(many.predict(level=80), history=wide, series="C", n_history=20)
        assert np.array_equal(drawn(display.lines_[0]["history"]), wide["C"].to_numpy()[-20:])
        assert list(display.bands_[0]) == [("forecast", 80)]

    def test_plot_again_on_given_axes(self, one):
        from matplotlib.figure import Figure

        ax = Figure().subplots()
        display = ForecastDisplay.from_estimator(one)
        assert display.plot(ax, line_kwargs={"color": "blue"}, band_kwargs={"color": "red"}) is display
        assert display.ax_ is ax and display.figure_ is ax.figure and ax.get_legend() is display.legend_
        assert display.lines_[0]["Ridge"].get_color() == "blue"
        assert tuple(display.bands_[0]["Ridge", 80].get_facecolor()[0][:3]) == (1, 0, 0)

    @pytest.mark.parametrize("arguments, error, match", [
        ({"series": "X"}, ValueError, "series='X' is not there; there are 4: 'A', 'B', 'C', 'D'"),
        ({"series": []}, ValueError, "series is empty"),
        ({"max_series": 0}, ValueError, "max_series=0 must be a whole number"),
        ({"n_history": -1}, ValueError, "n_history=-1 must be a whole number"),
        ({"y_true": pd.Series([1.0], [pd.Timestamp("1999-01-01")])}, ValueError, "y_true has no row from 2026"),
        ({"y_true": np.ones((3, 2))}, ValueError, "y_true has 2 columns for 1 series"),
        ({"ax": 3}, TypeError, "ax=3 is not a matplotlib Axes"),
    ])
    def test_bad_arguments(self, many, arguments, error, match):
        with pytest.raises(error, match=match):
            ForecastDisplay.from_estimator(many, **arguments)

    def test_number_of_axes(self, many):
        from matplotlib.figure import Figure

        with pytest.raises(ValueError, match="ax has 3 axes for 2 series"):
            ForecastDisplay.from_estimator(many, max_series=2, ax=Figure().subplots(3))

    def test_what_is_no_fitted_forecaster(self):
        with pytest.raises(TypeError, match="is no forecaster"):
            ForecastDisplay.from_estimator(Ridge())
        with pytest.raises(ValueError, match="not fitted"):
            ForecastDisplay.from_estimator(ridge())

    @pytest.mark.parametrize("frame, error, match", [
        ([1, 2], TypeError, "frame is a list"),
        (pd.DataFrame({"unique_id": [1], "ds": [1]}), ValueError, "hold no forecast"),
        (pd.DataFrame({"m": ["text"]}), ValueError, "column 'm' is"),
        (pd.DataFrame({"m": np.zeros(0)}), ValueError, "no row"),
    ])
    def test_bad_frames(self, frame, error, match):
        with pytest.raises(error, match=match):
            ForecastDisplay.from_frame(frame)


class TestBacktestDisplay:
    def test_series(self, frame, wide):
        display = BacktestDisplay.from_frame(frame, series="B")
        mine = frame[frame["unique_id"] == "B"]
        values = drawn(display.lines_[0]["Ridge"])
        assert np.isnan(values).sum() == 3  # the line is interrupted between cutoffs
        assert np.array_equal(values[~np.isnan(values)], mine["Ridge"])
        assert np.array_equal(drawn(display.lines_[0]["y_true"]), wide["B"].to_numpy()[-48:])
        assert len(display.bands_[0][95].get_paths()) == 4
        assert display.ax_.get_title(loc="left") == "B: 4 cutoffs"

    def test_overlapping_cutoffs_are_left_out(self, many, wide):
        frame = many.backtest(wide, n_splits=5, step=6)
        display = BacktestDisplay.from_frame(frame)
        assert display.ax_.get_title(loc="left") == "A: 3 of 5 cutoffs (the others overlap)"

    def test_one_step_ahead_is_one_line(self, wide):
        display = BacktestDisplay.from_estimator(ridge(horizon=1), wide["A"], n_splits=30)
        assert np.isfinite(drawn(display.lines_[0]["Ridge"])).all() and len(drawn(display.lines_[0]["Ridge"])) == 30

    @pytest.mark.parametrize("forecaster", [NaiveForecaster(horizon=30), SeasonalNaiveForecaster(24, horizon=30)])
    def test_naive_is_that_of_the_naive_forecasters(self, long, forecaster):
        display = BacktestDisplay.from_estimator(forecaster, long, kind="error", n_splits=3)
        name = type(forecaster).__name__
        assert np.array_equal(display.frame["naive"], display.frame[name])
        assert np.array_equal(drawn(display.lines_[0]["naive"]), drawn(display.lines_[0][name]))
        assert drawn(display.lines_[0]["naive"]).mean() == pytest.approx(1)  # in units of itself

    def test_error_of_one_series_is_in_its_units(self, frame, wide):
        display = BacktestDisplay.from_frame(frame, history=wide, series="C", kind="error")
        mine = frame[frame["unique_id"] == "C"]
        expected = (mine["y"] - mine["Ridge"]).abs().to_numpy().reshape(4, 12).mean(axis=0)
        np.testing.assert_allclose(drawn(display.lines_[0]["Ridge"]), expected)

    def test_coverage(self, frame):
        display = BacktestDisplay.from_frame(frame, kind="coverage")
        inside = frame["y"].between(frame["Ridge-lo-80"], frame["Ridge-hi-80"]).to_numpy()
        horizon = frame.groupby(["unique_id", "cutoff"]).cumcount().to_numpy()
        expected = [100 * inside[horizon == h].mean() for h in range(12)]
        np.testing.assert_allclose(drawn(display.lines_[0][80]), expected)
        nominal = [line.get_ydata()[0] for line in display.ax_.get_lines() if line.get_linestyle() == "--"]
        assert nominal == [80, 95]

    def test_without_the_values_at_the_cutoffs_there_is_no_naive_line(self, frame):
        frame = frame.drop(columns=["naive", "seasonal_naive"], errors="ignore")
        assert list(BacktestDisplay.from_frame(frame, kind="error").lines_[0]) == ["Ridge"]

    def test_the_forecaster_is_not_changed(self, many, wide):
        before = many.history_
        BacktestDisplay.from_estimator(many, wide[:300], n_splits=2)
        assert many.history_ is before

    def test_bad_input(self, frame, wide):
        with pytest.raises(ValueError, match="kind='errors' is unknown; use one of 'series', 'error', 'coverage'"):
            BacktestDisplay.from_frame(frame, kind="errors")
        with pytest.raises(ValueError, match=r"lacks \['cutoff'\]"):
            BacktestDisplay.from_frame(frame.drop(columns="cutoff"))
        with pytest.raises(ValueError, match="no row"):
            BacktestDisplay.from_frame(frame[:0])
        with pytest.raises(TypeError, match="frame is a list"):
            BacktestDisplay.from_frame([])
        with pytest.raises(ValueError, match="history has no row of series 'A' at the cutoff"):
            BacktestDisplay.from_frame(frame.drop(columns=["naive", "seasonal_naive"], errors="ignore"), history=wide[:100])
        with pytest.raises(ValueError, match="'Ridge' has no intervals"):
            BacktestDisplay.from_frame(frame[["unique_id", "ds", "cutoff", "y", "Ridge"]], kind="coverage")
        with pytest.raises(ValueError, match="model='LSTM' is not there"):
            BacktestDisplay.from_frame(frame, model="LSTM")
        with pytest.raises(TypeError, match="is no forecaster"):
            BacktestDisplay.from_estimator(Ridge(), wide)


class TestHistoryDisplay:
    @pytest.fixture
    def data(self):
        rng = np.random.default_rng(0)
        return rng.normal(size=(40, 6)).astype("f4"), rng.normal(size=40).astype("f4")

    @pytest.fixture
    def network(self):
        return LSTMRegressor(hidden_layer_sizes=(3,), max_iter=4, early_stopping=True, random_state=0)

    def test_curves_and_the_best_epoch(self, network, data):
        display = HistoryDisplay.from_estimator(network.fit(*data))
        assert np.array_equal(drawn(display.lines_["loss"]), network.history_["loss"])
        assert np.array_equal(drawn(display.lines_["val_loss"]), network.history_["val_loss"])
        assert np.array_equal(display.lines_["loss"].get_xdata(), [1, 2, 3, 4])
        assert words(display.legend_) == ["training", "validation", f"best epoch: {network.best_iter_}"]
        assert "LSTMRegressor" in display.ax_.get_title(loc="left")

    @pytest.mark.parametrize("hold", [
        lambda network: make_pipeline(StandardScaler(), network),
        lambda network: GridSearchCV(make_pipeline(network), {"lstmregressor__alpha": [0.1]}, cv=2),
    ])
    def test_found_in_what_holds_it(self, network, data, hold):
        display = HistoryDisplay.from_estimator(hold(network).fit(*data))
        assert len(drawn(display.lines_["loss"])) == 4

    def test_found_in_a_forecaster(self, network, wide):
        forecaster = WindowForecaster(network, window=6, horizon=2).fit(wide["A"])
        display = HistoryDisplay.from_estimator(forecaster)
        assert np.array_equal(drawn(display.lines_["loss"]), forecaster.regressor_.history_["loss"])

    def test_accuracy_has_axes_of_its_own(self):
        from matplotlib.figure import Figure

        display = HistoryDisplay({"loss": [2.0, 1], "accuracy": [0.5, 0.6], "val_accuracy": [np.nan, 0.4], "seconds": [1, 1]})
        assert [ax.get_ylabel() for ax in display.plot().axes_] == ["loss", "accuracy"]
        assert list(display.lines_) == ["loss", "accuracy", "val_accuracy"]
        assert list(display.plot(Figure().subplots()).lines_) == ["loss"]
        assert list(display.plot(Figure().subplots(), metrics="accuracy").lines_) == ["accuracy", "val_accuracy"]
        with pytest.raises(ValueError, match="are not in the history; it has"):
            display.plot(metrics="auc")

    def test_a_single_epoch_can_be_seen(self):
        assert HistoryDisplay({"loss": [1.0]}).plot().lines_["loss"].get_marker() == "o"

    def test_what_has_no_history(self, network, wide):
        for unfitted in (network, make_pipeline(StandardScaler(), network), WindowForecaster(network)):
            with pytest.raises(ValueError, match="is not fitted yet"):
                HistoryDisplay.from_estimator(unfitted)
        with pytest.raises(TypeError, match="Ridge has no history of epochs"):
            HistoryDisplay.from_estimator(Ridge().fit([[0], [1]], [0, 1]))
        with pytest.raises(TypeError, match="local=True holds 4 networks"):
            HistoryDisplay.from_estimator(ridge(local=True).fit(wide))


_THREAD = """
import sys, threading
import pandas as pd
from tsrnn.plotting import ForecastDisplay
{before}
displays = []
def draw():
    displays.append(ForecastDisplay.from_frame(pd.DataFrame({{"m": [1.0, 2.0]}})))
    displays[0].figure_.savefig(sys.argv[1])
thread = threading.Thread(target=draw)
thread.start()
thread.join()
plt = sys.modules.get("matplotlib.pyplot")
print(len(displays), plt and len(plt.get_fignums()))
"""


@pytest.mark.parametrize("before, printed", [("", "1 None"), ("import matplotlib.pyplot", "1 1"), ("sys.ps1 = '>>>'", "1 1")])
def test_pyplot_shows_figures_only_where_somebody_looks(tmp_path, before, printed):
    path = tmp_path / "a.png"
    result = subprocess.run([sys.executable, "-c", _THREAD.format(before=before), str(path)], capture_output=True, text=True,
                            check=True, timeout=60)
    assert result.stdout.strip() == printed
    assert path.read_bytes().startswith(b"\x89PNG")


def test_public_names():
    from tsrnn import plotting

    assert all(getattr(plotting, name).__name__ == name and name in dir(plotting) for name in plotting.__all__)
    with pytest.raises(AttributeError, match="no attribute 'RocCurveDisplay'"):
        plotting.RocCurveDisplay  # noqa: B018
