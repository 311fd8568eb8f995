"""`runner=spark`: the same rules, decoding and sink on Spark. Nothing else here imports PySpark."""
