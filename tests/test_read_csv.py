"""CSV files as data vendors write them."""

import warnings

import pandas as pd
import pytest

from tsrnn._read_csv import pick, read_table, tell_irregular

UNDATED = pytest.mark.filterwarnings("ignore:.*has no column of dates")


def read_prices(path, column):
    return pick(read_table(path, column), column, str(path))


class TestReadPrices:
    def write(self, folder, text):
        (folder / "prices.csv").write_text(text)
        return folder / "prices.csv"

    def test_dates_are_put_in_order_and_case_does_not_matter(self, tmp_path):
        path = self.write(tmp_path, "Date,Close\n2024-01-03,3\n2024-01-01,1\n2024-01-02,2\n")
        series = read_prices(path, "close")
        assert series.tolist() == [1, 2, 3] and series.name == "Close"
        assert series.index.is_monotonic_increasing

    @UNDATED
    def test_exact_name_wins(self, tmp_path):
        path = self.write(tmp_path, "Close,close\n1,2\n")
        assert read_prices(path, "close").tolist() == [2] and read_prices(path, "CLOSE").tolist() == [1]

    def test_without_dates_rows_stay(self, tmp_path):
        with pytest.warns(UserWarning, match=r"prices\.csv has no column of dates: rows are numbered"):
            assert read_prices(self.write(tmp_path, "close\n3\n1\n"), "close").tolist() == [3, 1]

    @pytest.mark.parametrize("separator", [";", "\t", "|", ", "])
    def test_separators(self, tmp_path, separator):
        text = "Date,Open,Close/Last\n2024-01-02,3,1.5\n2024-01-03,4,2.5\n".replace(",", separator)
        series = read_prices(self.write(tmp_path, text), "close")
        assert series.tolist() == [1.5, 2.5] and series.name == "Close/Last" and str(series.index[0])[:10] == "2024-01-02"

    @pytest.mark.parametrize("label", ["Close/Last", "4. close", "Closing Price", "close(USD)"])
    def test_spellings_are_those_of_the_forecaster(self, tmp_path, label):
        series = read_prices(self.write(tmp_path, f"date,Open,{label}\n2024-01-01,1,2\n"), "close")
        assert series.name == label and series.tolist() == [2]

    @pytest.mark.parametrize("value", ["$1,234.5", "-", "1.234,5"])
    def test_what_is_no_number_is_named(self, tmp_path, value):
        dated = self.write(tmp_path, f'date,close\n2024-01-03,"{value}"\n2024-01-01,1\n2024-01-02,\n')
        with pytest.raises(ValueError) as error:
            read_prices(dated, "close")
        assert f"column 'close' of {dated} holds {value!r} in row 2024-01-03, not numbers" in str(error.value)
        bare = self.write(tmp_path, f'close\n1\n"{value}"\n')
        with pytest.warns(UserWarning, match="no column of dates"), pytest.raises(ValueError, match="in row 2, not numbers"):
            read_prices(bare, "close")

    @UNDATED
    @pytest.mark.parametrize("text, match", [
        ("date,close\n2024-01-01,1\n2024-01-01,2\n", "several rows for 2024-01-01; give one series"),
        ("date,close\nyesterday,1\n", "column 'date' of .* does not hold dates"),
        ("date,close\n,1\n2024-01-01,2\n", "missing dates"),
        ("date,close\n2024-01-01,abc\n", "column 'close' of .* not numbers"),
        ("date,open\n2024-01-01,1\n", "has no column 'close'; choose one of: open"),
        ("date,close\n,1\n,2\n", "missing dates"),
        ("", r"prices\.csv is empty; give a CSV file with a header line"),
        ("date,close\n", r"prices\.csv has a header and no rows; give a CSV file"),
        ("Price,Close\nTicker,AAPL\nDate,\n", r"prices\.csv has a header and no rows; give a CSV file"),
        ("date,close\n2024-01-01,1\n2024-01-02,2,3\n", r"prices\.csv cannot be read as a CSV file: .*line 3"),
    ])
    def test_bad_files(self, tmp_path, text, match):
        with pytest.raises(ValueError, match=match):
            read_prices(self.write(tmp_path, text), "close")

    def test_folder(self, tmp_path):
        with pytest.raises(ValueError, match="is a folder; give the path of a CSV file"):
            read_prices(tmp_path, "close")

    def test_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file .*none.csv"):
            read_prices(tmp_path / "none.csv", "close")

    def test_broken_archive(self, tmp_path):
        (tmp_path / "prices.zip").write_text("no archive")
        with pytest.raises(ValueError, match=r"prices\.zip cannot be read as a CSV file"):
            read_prices(tmp_path / "prices.zip", "close")


class TestDates:
    """Dates as vendors write them; the index has no time zone."""

    def read(self, folder, dates, name="Date"):
        (folder / "prices.csv").write_text(f"{name},Close\n" + "".join(f"{date},{i}\n" for i, date in enumerate(dates)))
        series = read_prices(folder / "prices.csv", "close")
        return series, [str(label) for label in series.index]

    def test_local_dates_across_daylight_saving(self, tmp_path):
        """What `Ticker.history().to_csv()` writes."""
        dates = ["2023-03-14 00:00:00-04:00", "2023-03-13 00:00:00-04:00", "2023-03-10 00:00:00-05:00"]
        series, labels = self.read(tmp_path, dates)
        assert labels == ["2023-03-10 00:00:00", "2023-03-13 00:00:00", "2023-03-14 00:00:00"]
        assert series.tolist() == [2, 1, 0] and series.index.tz is None

    @pytest.mark.parametrize("date, label", [
        ("2023-03-10 00:00:00-05:00", "2023-03-10 00:00:00"),
        ("2023-03-10T09:30:00.500+0100", "2023-03-10 09:30:00.500000"),
        ("2023-03-10T09:30:00Z", "2023-03-10 09:30:00"),
        ("2023-03-10 09:30:00 UTC", "2023-03-10 09:30:00"),
        ("10-23-2023", "2023-10-23 00:00:00"),
    ])
    def test_zones_are_dropped(self, tmp_path, date, label):
        assert self.read(tmp_path, [date])[1] == [label]

    def test_the_hour_that_comes_twice_stands_in_utc(self, tmp_path):
        dates = ["2023-11-05 00:30:00-04:00", "2023-11-05 01:30:00-04:00", "2023-11-05 01:30:00-05:00"]
        series, labels = self.read(tmp_path, dates, "Datetime")
        assert labels == ["2023-11-05 04:30:00", "2023-11-05 05:30:00", "2023-11-05 06:30:00"]

    @pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
    def test_epochs_by_their_size(self, tmp_path, factor):
        series, labels = self.read(tmp_path, [1704326400 * factor, 1704240000 * factor], "time")
        assert labels == ["2024-01-03 00:00:00", "2024-01-04 00:00:00"] and series.tolist() == [1, 0]

    def test_numbers_that_are_no_epochs(self, tmp_path):
        assert self.read(tmp_path, [20240103, 20240102])[1] == ["2024-01-02 00:00:00", "2024-01-03 00:00:00"]
        series, labels = self.read(tmp_path, [8, 7, 10], "time")
        assert labels == ["7", "8", "10"] and series.tolist() == [1, 0, 2]

    def test_steps_that_are_no_whole_numbers_are_counted(self, tmp_path):
        series, labels = self.read(tmp_path, [0.5, 0.1, 0.3], "time")
        assert labels == ["0", "1", "2"] and series.tolist() == [1, 2, 0]


class TestFormats:
    """Days and months in every order; pandas never guesses aloud."""

    def read(self, folder, dates, name="Date", date_format=None):
        (folder / "prices.csv").write_text(f"{name},Close\n" + "".join(f"{date},{i}\n" for i, date in enumerate(dates)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return [f"{time:%Y-%m-%d}" for time in read_table(folder / "prices.csv", "close", date_format).index]

    @pytest.mark.parametrize("dates, expected", [
        (["01/02/2000", "13/02/2000"], ["2000-02-01", "2000-02-13"]),
        (["01/02/2000", "01/13/2000"], ["2000-01-02", "2000-01-13"]),
        (["01.02.2000 09:30", "31.02.1999 09:30"], None),
        (["01.02.2000 09:30", "28.02.2000 09:30"], ["2000-02-01", "2000-02-28"]),
        (["2000/02/01", "2000/02/13"], ["2000-02-01", "2000-02-13"]),
        (["06/2000", "07/2000"], ["2000-06-01", "2000-07-01"]),
        (["Jun 2000", "Jul 2000"], ["2000-06-01", "2000-07-01"]),
        (["June 2000", "July 2000"], ["2000-06-01", "2000-07-01"]),
        (["2000Q1", "2000Q2"], ["2000-01-01", "2000-04-01"]), (["2000-Q3", "2000-Q4"], ["2000-07-01", "2000-10-01"]),
        (["2000-06", "2000-07"], ["2000-06-01", "2000-07-01"]),
        (["13/02/2000", "02/13/2000"], None), (["spring 2000", "summer 2000"], None), (["Jun-00", "Jul-00"], None),
    ])
    def test_where_the_data_tell(self, tmp_path, dates, expected):
        if expected is not None:
            assert self.read(tmp_path, dates) == expected
            return
        with pytest.raises(ValueError, match=r"column 'Date' of .* does not hold dates.*--date-format=\"%d/%m/%Y\"\.$"):
            self.read(tmp_path, dates)

    @pytest.mark.parametrize("dates", [["01/02/2000", "01/03/2000"], ["01-02-2000"], ["03.10.24", "13.10.24"],
                                       ["01/02/99", "01/13/99"]])
    @pytest.mark.parametrize("name", ["Date", "Month"])
    def test_where_they_do_not(self, tmp_path, dates, name):
        with pytest.raises(ValueError, match=f"column '{name}' .* whose day could be the month.*--date-format="):
            self.read(tmp_path, dates, name)

    @pytest.mark.parametrize("name", ["Date", "Month"])
    def test_the_users_word(self, tmp_path, name):
        assert self.read(tmp_path, ["01/02/2000", "01/03/2000"], name, "%d/%m/%Y") == ["2000-02-01", "2000-03-01"]
        assert self.read(tmp_path, ["01/02/2000", "01/03/2000"], name, "%m/%d/%Y") == ["2000-01-02", "2000-01-03"]
        assert self.read(tmp_path, ["01022000", "01032000"], name, "%d%m%Y") == ["2000-02-01", "2000-03-01"]
        with pytest.raises(ValueError, match='as --date-format=%m/%d/%Y has them: time data "13/02/2000"'):
            self.read(tmp_path, ["13/02/2000"], name, "%m/%d/%Y")

    @pytest.mark.parametrize("name", ["Month", "index", ""])
    def test_a_first_column_of_another_name(self, tmp_path, name):
        assert self.read(tmp_path, ["2000-07-01", "2000-06-01"], name) == ["2000-06-01", "2000-07-01"]

    @pytest.mark.parametrize("values", [["AAPL", "MSFT"], ["0", "1"], ["2000-06-01", ""], ["2000-06-01", "later"]])
    def test_one_that_holds_something_else(self, tmp_path, values):
        with pytest.raises(UserWarning, match="no column of dates: rows are numbered"):
            self.read(tmp_path, values, "what")


    def test_the_users_word_with_several_header_lines(self, tmp_path):
        path = tmp_path / "prices.csv"
        path.write_text("Price,Close\nTicker,AAPL\nDate,\n02/01/2024,1\n03/01/2024,2\n")
        assert [f"{time:%d %b}" for time in read_table(path, "close", "%d/%m/%Y").index] == ["02 Jan", "03 Jan"]


class TestIrregular:
    def test_is_told_with_the_step(self):
        times = pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:05", "2024-01-01 00:07", "2024-01-01 00:12",
                                "2024-01-01 02:00", "2024-01-01 03:00", "2024-01-03 00:00"])
        with pytest.warns(UserWarning, match=r"of it are irregular: rows are counted, .* step \(00:05:00\)"):
            tell_irregular(times, "it")
        with pytest.warns(UserWarning, match=r"\(3 days\)"):
            tell_irregular(pd.to_datetime(["2024-01-01", "2024-01-04", "2024-01-09", "2024-01-29"]), "it")

    @pytest.mark.parametrize("times", [
        pd.bdate_range("2024-01-01", periods=40).delete([3, 9]), pd.date_range("2024-01-31", periods=9, freq="ME"),
        pd.RangeIndex(9), pd.date_range("2024-01-01 09:30", periods=99, freq="h").delete(range(5, 9)),
        pd.date_range("2024-01-15", periods=9, freq="MS") + pd.Timedelta(days=14), pd.to_datetime(["2024-01-01"]),
    ])
    def test_gaps_alone_are_not(self, times):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tell_irregular(times, "it")


class TestSeveralHeaderLines:
    """What `yfinance.download().to_csv()` writes."""

    def write(self, folder, header):
        width = header.splitlines()[0].count(",")
        rows = "".join(f"2024-01-0{day}" + "".join(f",{10 * day + i}.5" for i in range(width)) + "\n" for day in (2, 3))
        (folder / "prices.csv").write_text(header + "Date" + "," * width + "\n" + rows)
        return folder / "prices.csv"

    @pytest.mark.parametrize("header", [
        "Price,Close,High\nTicker,AAPL,AAPL\n", "Ticker,AAPL,AAPL\nPrice,Close,High\n", ",Close,High\n,AAPL,AAPL\n",
        "Price,Close\nTicker,AAPL\n",
    ])
    def test_one_ticker(self, tmp_path, header):
        series = read_prices(self.write(tmp_path, header), "close")
        assert series.name == "Close" and series.tolist() == [20.5, 30.5]
        assert list(series.index) == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]

    @pytest.mark.parametrize("header", [
        "Price,Close,Close,High,High\nTicker,AAPL,MSFT,AAPL,MSFT\n",
        "Ticker,AAPL,MSFT,AAPL,MSFT\nPrice,Close,Close,High,High\n",
        ",AAPL,MSFT,AAPL,MSFT\n,Close,Close,High,High\n",
    ])
    def test_several_tickers(self, tmp_path, header):
        path = self.write(tmp_path, header)
        with pytest.raises(ValueError, match="2 tickers.*; set --column to one of: 'Close AAPL', 'Close MSFT'\\."):
            read_prices(path, "close")
        series = read_prices(path, "close msft")
        assert series.name == "Close MSFT" and series.tolist() == [21.5, 31.5]

    def test_many_tickers(self, tmp_path):
        tickers = [f"T{i}" for i in range(99)]
        path = self.write(tmp_path, f"Price{',Close' * 99}\nTicker,{','.join(tickers)}\n")
        with pytest.raises(ValueError, match="99 tickers .* 'Close T7', ...\\.$"):
            read_prices(path, "close")
