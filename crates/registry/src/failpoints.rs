//! `quayside-registry` with the failpoints of the tests in it. Never shipped.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
