//! /proc/interrupts: which interrupts there are, and how often each CPU served them.
//!
//! The numbers are the machine's: it tells of its interrupts one by one ([`Interrupts`]), devices' first, then those by
//! which CPUs call each other. The host has none. Linux: `show_interrupts` of `kernel/irq/proc.c`, `show_ipi_list`.
//!
//! Linux does more: affinity and spurious counts below `/proc/irq`.

use core::fmt;

use super::{Form, json};
use crate::mmzone::NR_CPUS;

/// Where an interrupt comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A device, through this input of the controller with this name.
    Device {
        /// The controller.
        controller: &'static str,
        /// Number of its input.
        input: u32,
    },
    /// Another CPU, by the software interrupt with this number.
    Cpu(u32),
    /// Nobody that we know.
    Unknown,
}

/// An interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// Where it comes from.
    pub origin: Origin,
    /// Who serves it, or what it is for.
    pub name: &'static str,
    /// How often each CPU has served it.
    pub counts: [u64; NR_CPUS],
}

/// Tells a machine's interrupts by position, without gaps.
pub type Interrupts = fn(usize) -> Option<Interrupt>;

/// Writes the table for a machine that runs `nr_cpus` CPUs; as JSON one object for each interrupt and CPU.
pub fn write(interrupts: Interrupts, nr_cpus: usize, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    if form == Form::Text {
        write!(out, "{:11}", "")?;
        (0..nr_cpus).try_for_each(|cpu| write!(out, "CPU{cpu:<8}"))?;
        writeln!(out)?;
    }
    (0..).map_while(interrupts).enumerate().try_for_each(|(position, interrupt)| match form {
        Form::Text => write_line(position, &interrupt, nr_cpus, out),
        Form::Json => write_objects(&interrupt, nr_cpus, out),
    })
}

fn write_line(position: usize, interrupt: &Interrupt, nr_cpus: usize, out: &mut dyn fmt::Write) -> fmt::Result {
    let counts = &interrupt.counts[..nr_cpus];
    match interrupt.origin {
        Origin::Device { .. } => write!(out, "{:3}: ", position + 1)?,
        Origin::Cpu(number) => write!(out, "IPI{number}:")?,
        Origin::Unknown => return writeln!(out, "Err: {:10}", counts.iter().sum::<u64>()),
    }
    counts.iter().try_for_each(|count| write!(out, "{count:10} "))?;
    match interrupt.origin {
        Origin::Device { controller, input } => {
            writeln!(out, " {controller:>8} {input:3} {:<8}  {}", "Level", interrupt.name)
        }
        _ => writeln!(out, "      {}", interrupt.name),
    }
}

fn write_objects(interrupt: &Interrupt, nr_cpus: usize, out: &mut dyn fmt::Write) -> fmt::Result {
    interrupt.counts[..nr_cpus].iter().enumerate().try_for_each(|(cpu, count)| {
        let mut row = json::Object::new(out);
        match interrupt.origin {
            Origin::Device { controller, input } => row.word("controller", controller)?.field("input", input)?,
            Origin::Cpu(number) => row.field("ipi", number)?,
            Origin::Unknown => &mut row,
        };
        row.word("name", interrupt.name)?.field("cpu", cpu)?.field("count", count)?.end()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interrupt; 3] = {
        let counts = [3165, 2651, 0, 0, 0, 0, 0, 0];
        let device = Origin::Device { controller: "GICv2", input: 27 };
        [
            Interrupt { origin: device, name: "arch_timer", counts },
            Interrupt { origin: Origin::Cpu(0), name: "Rescheduling interrupts", counts },
            Interrupt { origin: Origin::Unknown, name: "unknown", counts: [1, 2, 0, 0, 0, 0, 0, 0] },
        ]
    };

    fn text(nr_cpus: usize, form: Form) -> String {
        let mut text = String::new();
        write(|n| ALL.get(n).copied(), nr_cpus, form, &mut text).unwrap();
        text
    }

    #[test]
    fn lines_are_those_of_linux() {
        assert_eq!(
            text(2, Form::Text),
            "           CPU0       CPU1       \n\
             \x20 1:       3165       2651     GICv2  27 Level     arch_timer\n\
             IPI0:      3165       2651       Rescheduling interrupts\n\
             Err:          3\n"
        );
    }

    #[test]
    fn json_has_an_object_for_each_cpu() {
        let lines: Vec<_> = text(2, Form::Json).lines().map(str::to_owned).collect();
        assert_eq!(lines[1], r#"{"controller":"GICv2","input":27,"name":"arch_timer","cpu":1,"count":2651}"#);
        assert_eq!(lines[2], r#"{"ipi":0,"name":"Rescheduling interrupts","cpu":0,"count":3165}"#);
        assert_eq!(lines[5], r#"{"name":"unknown","cpu":1,"count":2}"#);
    }
}
