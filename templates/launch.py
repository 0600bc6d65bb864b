"""What the launcher of a flex template runs with the parameters of a job: see beam_etl/templates/launch.py."""

import sys

from beam_etl.templates.launch import run

sys.exit(run(sys.argv[1:]))
