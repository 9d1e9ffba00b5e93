"""The dry run: audits the data, tries each part of a run in a temporary folder, and estimates the whole run."""
