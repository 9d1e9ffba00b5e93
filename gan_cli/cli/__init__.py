"""The console commands. Imports no torch until a command runs."""
