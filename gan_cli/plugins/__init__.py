"""Options that are not part of gan-cli: those of installed plugins, and those in the user's folder of configs."""
