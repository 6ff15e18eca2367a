//! Processors, how to start them, and the way to the firmware.
//!
//! Linux: `of_parse_and_init_cpus` of arm64, `cpu_ops`, `psci_dt_init`.
//!
//! Linux does more: it reads caches, capacities, idle states and the topology under `cpu-map`.

use super::cells::{number, word_or_two};
use super::device;
use super::structure::Blocks;
use super::walk::Node;
use crate::addr::PhysAddr;

/// Bits of MPIDR_EL1 that name a processor: Aff3 and Aff2 to Aff0.
const MPIDR_HWID_BITMASK: u64 = 0xff_00ff_ffff;

/// A processor that the tree describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// The affinity fields of its MPIDR_EL1.
    pub mpidr: u64,
    /// `numa-node-id`, when there is one.
    pub node: Option<u32>,
    /// How to start it.
    pub enable: EnableMethod,
}

/// How a processor is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnableMethod {
    /// By a PSCI call.
    Psci,
    /// By a word that it polls.
    SpinTable {
        /// Where the entry point has to be written.
        release: PhysAddr,
    },
    /// In no way that is known here: it is the boot processor, or cannot be used.
    None,
}

/// The instruction that calls the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc`.
    Hvc,
    /// `smc`.
    Smc,
}

/// The children of `/cpus` that are processors; one without a valid `reg` is left out.
pub(super) fn cpus(blocks: Blocks<'_>) -> impl Iterator<Item = Cpu> {
    let cpus = Node::root(blocks).and_then(|root| root.child("cpus"));
    let cells = cpus.and_then(|cpus| cpus.word("#address-cells")).unwrap_or(1) as usize;
    let children = cpus.into_iter().flat_map(Node::children);
    children.filter(|node| is_cpu(*node)).filter_map(move |node| cpu(node, cells))
}

fn is_cpu(node: Node<'_>) -> bool {
    node.is_named("cpu") || node.text("device_type") == Some("cpu")
}

fn cpu(node: Node<'_>, cells: usize) -> Option<Cpu> {
    let mpidr = number(node.property("reg")?.get(..4 * cells)?);
    let enable = enable_method(node);
    (mpidr & !MPIDR_HWID_BITMASK == 0).then(|| Cpu { mpidr, node: node.word("numa-node-id"), enable })
}

fn enable_method(node: Node<'_>) -> EnableMethod {
    match node.text("enable-method") {
        Some("psci") => EnableMethod::Psci,
        Some("spin-table") => match node.property("cpu-release-addr").and_then(word_or_two) {
            Some(release) => EnableMethod::SpinTable { release: PhysAddr(release) },
            None => EnableMethod::None,
        },
        _ => EnableMethod::None,
    }
}

/// The conduit of PSCI 0.2 or newer; `None` without one (PSCI 0.1 numbers its calls differently and is not used).
pub(super) fn psci(blocks: Blocks<'_>) -> Option<Conduit> {
    let (psci, _) = device::find(blocks, &["arm,psci-1.0", "arm,psci-0.2"])?;
    match psci.node()?.text("method")? {
        "hvc" => Some(Conduit::Hvc),
        "smc" => Some(Conduit::Smc),
        _ => None,
    }
}
