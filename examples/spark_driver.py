"""What spark-submit starts: the command line of `botsieve`, with `runner=spark`."""

import sys

from engine.__main__ import main

sys.exit(main(["runner=spark", *sys.argv[1:]]))
