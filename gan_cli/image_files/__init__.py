"""Files of images: which there are in a folder, an archive or an array. Imports no torch."""
