"""A folder or zip of pictures before one is decoded: what it holds, its splits, and its classes. Imports no torch."""
