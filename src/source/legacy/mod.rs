//! The `collector.Collector/Collect` service.
