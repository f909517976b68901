//! The janitor (LOG.md L17, L18): rolls checkpoints forward and trims behind them.
mod activity;

pub use activity::Activity;
