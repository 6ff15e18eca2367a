//! What the shell's tests share.

use alloc::string::String;

use crate::exec::Shell;
use crate::expect::lines_match;
use crate::host::HostMachine;

/// A shell on a machine with 64 MiB of RAM at 0x40000000, of which the first 4 MiB are in use.
pub fn shell() -> Shell<HostMachine> {
    shell_with("")
}

/// [`shell`], booted with the arguments `args`.
pub fn shell_with(args: &str) -> Shell<HostMachine> {
    Shell::new(HostMachine::new(args, &[(0x4000_0000, 64 << 20, 0)], &[(0x4000_0000, 4 << 20)]))
}

/// Runs the lines of `script`; what they print.
pub fn run(shell: &mut Shell<HostMachine>, script: &str) -> String {
    script.lines().for_each(|line| _ = shell.run_line(line));
    shell.machine.take_output()
}

/// Runs the lines of `script` on a fresh [`shell`]; they must print `expected`, where `[..]` stands for any text within
/// a line.
#[track_caller]
pub fn check(script: &str, expected: &str) {
    assert_prints(&run(&mut shell(), script), expected);
}

/// Compares line by line.
#[track_caller]
pub fn assert_prints(output: &str, expected: &str) {
    assert!(lines_match(output, expected), "expected:\n{expected}\nprinted:\n{output}");
}
