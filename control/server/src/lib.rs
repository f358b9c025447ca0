//! The API server: authenticate, authorize, admit, serve; the verbs name no kind.
