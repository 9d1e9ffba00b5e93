"""The page of a run and that of a sweep: one HTML file each, for which no server and no network are needed."""
