"""From conf/ and the command line to the checked, typed config; reaches nothing but files."""
