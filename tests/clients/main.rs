//! Real clients against the real gateway: Claude Code in all its modes, the Python and TypeScript SDKs of all platforms, boto3;
//! pinned, each test in a network of its own that has a loopback interface and nothing else.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[path = "../support/mod.rs"]
mod support;

mod boto3;
mod claude_code;
mod claude_modes;
mod gateway;
mod install;
mod platform_checks;
mod platforms;
mod python;
mod sandbox;
mod sdk;
mod sdk_checks;
mod signatures;
mod typescript;
