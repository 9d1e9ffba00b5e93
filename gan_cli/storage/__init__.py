"""Files that survive: run folders, atomic writes, checksummed files, locks, downloads. Imports no torch at once."""
