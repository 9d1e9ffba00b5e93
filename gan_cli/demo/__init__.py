"""A local page in a browser that shows samples of a generator while its inputs are changed."""
