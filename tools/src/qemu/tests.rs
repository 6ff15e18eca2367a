//! Options in, QEMU's command line out.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    machine: MachineArgs,
}

/// QEMU's words for `options`, without those that every line has.
fn line(options: &[&str], script: bool, console: Console) -> Result<String> {
    let args = Options::try_parse_from([&["run"], options].concat())?.machine;
    let tree = Tree { path: "pi.dtb".into(), serial: 1 };
    let launch = Launch {
        image: Path::new("k.img"),
        tree: (args.machine == Machine::Raspi4b).then_some(&tree),
        script: script.then_some(Path::new("lines")),
        console,
        gdb: false,
    };
    let line = command_line(&args, &launch)?.join(" ");
    let line = line.strip_prefix("-nodefaults -no-user-config -display none -no-reboot ").unwrap();
    let (machine, rest) = line.split_once("-semihosting-config enable=on,target=native -kernel k.img ").unwrap();
    Ok(format!("{machine}| {rest}"))
}

#[track_caller]
fn check(options: &[&str], script: bool, console: Console, expected: &str) {
    assert_eq!(line(options, script, console).unwrap(), expected, "{options:?}");
}

#[track_caller]
fn refuses(options: &[&str], reason: &str) {
    let error = line(options, false, Console::Pipe).unwrap_err().to_string();
    assert!(error.contains(reason), "{options:?}: {error}");
}

const PIPE: &str = "-chardev stdio,id=console,signal=off -serial chardev:console";

#[test]
fn virt_by_default() {
    check(
        &[],
        false,
        Console::Terminal,
        "-machine virt,dtb-randomness=off,gic-version=2,memory-backend=ram -cpu cortex-a72 -smp 1 -m 1G \
         -object memory-backend-ram,id=ram,size=1G -serial mon:stdio -echr 29 | -append semihosting=on",
    );
}

#[test]
fn scripts_arrive_as_initrd_and_boot_arguments_in_order() {
    let words = line(&["--append", "mem=512M  "], true, Console::Pipe).unwrap();
    assert!(words.ends_with("| -initrd lines -append mem=512M semihosting=on script=initrd"), "{words}");
}

#[test]
fn icount_fixes_processor_and_clock() {
    check(
        &["--icount", "--memory", "256M", "--el2", "--secure", "--gic", "3"],
        false,
        Console::Pipe,
        &format!(
            "-machine virt,dtb-randomness=off,gic-version=3,virtualization=on,secure=on,memory-backend=ram -cpu max \
             -smp 1 -m 256M -object memory-backend-ram,id=ram,size=256M -icount shift=0,sleep=off {PIPE} \
             | -append semihosting=on"
        ),
    );
}

#[test]
fn much_memory_is_not_reserved_on_the_host() {
    let words = line(&["--memory", "64G"], false, Console::Pipe).unwrap();
    assert_eq!(words.contains("size=64G,reserve=off"), cfg!(target_os = "linux"), "{words}");
}

#[test]
fn nodes_share_memory_and_processors() {
    let words = line(&["--numa", "1G,512M", "--smp", "3"], false, Console::Pipe).unwrap();
    assert!(
        words.contains(
            "-m 1536M -object memory-backend-ram,id=node0,size=1G -numa node,nodeid=0,memdev=node0,cpus=0,cpus=1 \
             -object memory-backend-ram,id=node1,size=512M -numa node,nodeid=1,memdev=node1,cpus=2"
        ),
        "{words}"
    );
    assert!(!words.contains("memory-backend=ram"), "nodes replace the one backend: {words}");
}

#[test]
fn raspi4b_takes_the_port_that_its_tree_names() {
    check(
        &["--machine", "raspi4b", "--icount"],
        true,
        Console::Pipe,
        &format!(
            "-machine raspi4b -m 2G -smp 4 -icount shift=0,sleep=off -serial null {PIPE} \
             | -dtb pi.dtb -initrd lines -append semihosting=on script=initrd"
        ),
    );
    let words = line(&["--machine", "raspi4b", "--serial", "0"], false, Console::Telnet(4444)).unwrap();
    assert!(words.contains("-smp 4 -serial telnet:localhost:4444,server=on,wait=off |"), "{words}");
}

#[test]
fn impossible_machines_are_refused() {
    refuses(&["--machine", "raspi4b", "--memory", "1G"], "raspi4b has 2G");
    refuses(&["--machine", "raspi4b", "--smp", "2"], "raspi4b has 4 processors");
    refuses(&["--machine", "raspi4b", "--numa", "1G,1G"], "one node");
    refuses(&["--machine", "raspi4b", "--gic", "3"], "--machine virt");
    refuses(&["--memory", "1G", "--numa", "1G,1G"], "not the sum of --numa, 2G");
    refuses(&["--smp", "9", "--gic", "2"], "use --gic 3");
    refuses(&["--smp", "0"], "at least one");
    refuses(&["--memory", "lots"], "not a size");
    refuses(&["--gic", "4"], "invalid value");
    assert!(line(&["--smp", "9"], false, Console::Pipe).unwrap().contains("gic-version=3"));
}

#[test]
fn bare_starts_place_every_file_and_jump_to_the_first() {
    let args = Options::try_parse_from(["run", "--memory", "64M"]).unwrap().machine;
    let files = [(Path::new("stub"), 0x4400_0000), (Path::new("k.img"), 0x4020_0000)];
    let line = bare_command_line(&args, &files).unwrap().join(" ");
    let (machine, files) = line.split_once(&format!("{PIPE} ")).unwrap();
    assert!(machine.contains("-m 64M") && machine.contains("-semihosting-config"), "{machine}");
    assert_eq!(
        files,
        "-device loader,file=stub,addr=0x44000000,force-raw=on,cpu-num=0 \
         -device loader,file=k.img,addr=0x40200000,force-raw=on"
    );
}
