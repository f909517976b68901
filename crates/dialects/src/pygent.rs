//! PyGent Factory (docs/dialects.md).
