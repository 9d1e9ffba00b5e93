"""From the bytes of an image file to pixels of the data set's size, range and channels."""
