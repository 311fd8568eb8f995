"""The page that machines look at: metrics, and whether the engine is alive and ready."""
