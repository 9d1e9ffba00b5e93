"""Lists a folder, zip, tar or array of images before decoding: files, splits and classes. Imports no torch."""
