"""HTML reports of runs and sweeps: one file each, which needs no server and no network."""
