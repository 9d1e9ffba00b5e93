"""Several processes that train one model: their connections, the share of each batch, and averages over processes."""
