//! The `weir-loadtest` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::loadtest::cli::main()
}
