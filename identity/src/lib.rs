//! Certificate authorities, the certificates they issue, and the roles that certificates carry; no files, no network.
