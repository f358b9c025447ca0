//! Clusters for tests: made of the built image, gone with the test's process.
