//! Frames on the socket.
