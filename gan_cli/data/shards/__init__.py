"""Data sets larger than the memory: images in tar files (shards), which are decoded while a run trains."""
