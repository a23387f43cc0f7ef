"""The label columns of a catalogue. Apart from the tables, so that pandas is not needed for it."""

LABELS = ("artist", "genre", "style", "timeframe", "nationality")
