"""From series and tables to what a network reads; NumPy and pandas only."""
