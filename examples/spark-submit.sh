#!/bin/sh
# Botsieve on a Spark cluster: examples/spark-submit.sh spark://master:7077 config=FILE key=value ...
# The environment that has `botsieve[spark]` comes first on PATH, here and on each worker.
set -eu
master=$1
shift
version=$(python -c 'import pyspark; print(pyspark.__version__)')
exec spark-submit --master "$master" \
  --packages "org.apache.spark:spark-sql-kafka-0-10_2.13:$version" \
  "$(dirname "$0")/spark_driver.py" "$@"
