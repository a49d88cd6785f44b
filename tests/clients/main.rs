//! Real clients against the real gateway: Claude Code, the Python SDK and the TypeScript SDK, pinned, each test in a
//! network of its own that has a loopback interface and nothing else.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[path = "../support/mod.rs"]
mod support;

mod claude_code;
mod gateway;
mod install;
mod python;
mod sandbox;
mod sdk;
mod sdk_checks;
mod typescript;
