//! Boots images into clusters: machines, the switch between them, providers, and what "healthy" means.
