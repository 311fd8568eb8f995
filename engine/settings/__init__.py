"""From conf/ and the command line to the checked, typed config of a run; reaches nothing but files."""
