"""A folder, zip, tar or array of pictures before one is decoded: its files, splits and classes. Imports no torch."""
