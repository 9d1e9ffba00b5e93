"""Files and folders: run folders, atomic writes, checksums, locks, downloads. Importing it imports no torch."""
