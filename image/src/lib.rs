//! Builds the OS image: tools tree, kernel, root tree, UKI, disk; every product cached by the hash of its inputs.
