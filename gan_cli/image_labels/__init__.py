"""Labels of image files: from folders, tables, names and arrays. Imports no torch."""
