//! The one definition of a healthy cluster, for tests, for `cluster up` and for `pintlectl health`.
