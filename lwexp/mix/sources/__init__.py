"""The sources that lwexp knows: drafts of a run, files and hub sets; pairs of a run and of files."""
