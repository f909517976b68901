//! Engine.IO v4 and Socket.IO v5 as bytes: packets in and out, without sockets (docs/dialects.md).
