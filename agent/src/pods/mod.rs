//! The pods bound to this node, made real: desired state in, plans down, status up.
