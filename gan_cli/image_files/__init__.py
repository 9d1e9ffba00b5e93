"""Lists and reads the images in a folder, an archive or an array. Imports no torch."""
