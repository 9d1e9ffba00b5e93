"""Files and folders: run folders, atomic writes, checksums, locks, downloads. Only `checksummed_file` imports torch."""
